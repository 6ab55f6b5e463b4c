"""Generate values that the data does not contain from a record: image paths, credit ids, overviews.

All of it is synthetic and the same in every run. An overview says nothing that another route has to be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=32768)
def make_image_path(kind: str, number: int, ending: str = "jpg") -> str:
    """The path of a record's image; nothing lies behind it."""
    return f"/{sha256(f'{kind} {number}'.encode()).hexdigest()[:27]}.{ending}"


def make_logo_path(number: int) -> str:
    """The path of a company's or network's logo."""
    return make_image_path("organisation", number, "png")


@lru_cache(maxsize=65536)
def make_credit_id(kind: str, number: int, person: int, role: str) -> str:
    """24 hexadecimal digits that name one credit of one person in a film (`movie`) or a whole show (`tv`).

    The role is `cast`, `guest` for a guest star, or the job; one credit covers all the episodes it is for.
    """
    return sha256(f"credit {kind} {number} {person} {role}".encode()).hexdigest()[:24]


def write_overview(noun: str, genres: Sequence[str], date: str) -> str:
    """One sentence on a film or show: its genres and its year."""
    return f"A {noun} of {date[:4]}: {', '.join(genres).lower()}."
