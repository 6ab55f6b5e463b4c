"""Generate values that the data lacks: image paths, credit ids and overviews.

The values are synthetic and equal in every run. An overview contains nothing that only another route should return.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=32768)
def make_image_path(kind: str, number: int, ending: str = "jpg") -> str:
    """Return the path of an image of a record; there is no image file."""
    return f"/{sha256(f'{kind} {number}'.encode()).hexdigest()[:27]}.{ending}"


def make_logo_path(number: int) -> str:
    """Return the logo path of a company or network."""
    return make_image_path("organisation", number, "png")


@lru_cache(maxsize=65536)
def make_credit_id(kind: str, number: int, person: int, role: str) -> str:
    """Return the id of a person's credit in a film (`movie`) or show (`tv`): 24 hexadecimal digits.

    `role` is `cast`, `guest` for a guest star, or the job. One credit covers all episodes of the role.
    """
    return sha256(f"credit {kind} {number} {person} {role}".encode()).hexdigest()[:24]


def write_overview(noun: str, genres: Sequence[str], date: str) -> str:
    """Return one sentence with the year and the genres of a film or show."""
    return f"A {noun} of {date[:4]}: {', '.join(genres).lower()}."
