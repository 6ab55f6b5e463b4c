"""Match filter expressions over ids or names: a comma means AND, a pipe means OR, as in `28,12` and `28|12`."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints

Numbers = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(\d+(\s*[,|]\s*\d+)*)?$")]
"""Ids separated by commas or pipes; any other text is answered with 422."""
Names = Annotated[str, StringConstraints(strip_whitespace=True)]
"""Codes or names separated by commas or pipes."""


def matches_ids(expression: str, values: Collection[str]) -> bool:
    """Return whether the values contain both of `a,b`, or one of `a|b`; an empty expression is always true."""
    return all(any(name in values for name in group) for group in _parse_groups(expression))


def excludes_ids(expression: str, values: Collection[str]) -> bool:
    """Return whether the values lack both of `a,b`, or one of `a|b`; an empty expression is always true."""
    return all(any(name not in values for name in group) for group in _parse_groups(expression))


@lru_cache(maxsize=1024)
def _parse_groups(expression: str) -> tuple[tuple[str, ...], ...]:
    """Return one group of alternatives for each part between commas."""
    parts = [[name.strip() for name in part.split("|")] for part in expression.split(",")]
    groups = [tuple(name for name in group if name) for group in parts]
    return tuple(group for group in groups if group)
