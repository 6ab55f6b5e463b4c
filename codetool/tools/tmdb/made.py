"""What the data does not store and the replica makes from a record: image paths, credit ids, overviews.

All of it is synthetic and the same in every run. An overview says nothing that another route has to be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def image(kind: str, number: int) -> str:
    """The path of a record's image; nothing lies behind it."""
    return f"/{sha256(f'{kind} {number}'.encode()).hexdigest()[:27]}.jpg"


def credit_id(kind: str, number: int, person: int, role: str) -> str:
    """24 hexadecimal digits that name one credit of one person."""
    return sha256(f"credit {kind} {number} {person} {role}".encode()).hexdigest()[:24]


def overview(noun: str, genres: Sequence[str], date: str) -> str:
    """One sentence on a film or show: its genres and its year."""
    return f"A {noun} of {date[:4]}: {', '.join(genres).lower()}."
