"""Filter values that name several things: a comma means AND, a pipe OR, as in `28,12` and `28|12`."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints

Numbers = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(\d+(\s*[,|]\s*\d+)*)?$")]
"""Ids with commas or pipes between them; other text is TMDB's 422."""
Names = Annotated[str, StringConstraints(strip_whitespace=True)]
"""Codes or names with commas or pipes between them."""


def matches_ids(expression: str, values: Collection[str]) -> bool:
    """Whether for `a,b` both are among the values, for `a|b` one of them; an empty expression asks nothing."""
    return all(any(name in values for name in group) for group in _groups(expression))


def excludes_ids(expression: str, values: Collection[str]) -> bool:
    """Whether for `a,b` neither is among the values, for `a|b` one of them is not."""
    return all(any(name not in values for name in group) for group in _groups(expression))


@lru_cache(maxsize=1024)
def _groups(expression: str) -> tuple[tuple[str, ...], ...]:
    """One group of alternatives for each part between commas."""
    parts = [[name.strip() for name in part.split("|")] for part in expression.split(",")]
    named = [tuple(name for name in group if name) for group in parts]
    return tuple(group for group in named if group)
