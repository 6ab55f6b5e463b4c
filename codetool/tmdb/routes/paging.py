"""Split lists into pages of twenty, as the TMDB API does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

PAGE_SIZE = 20
T = TypeVar("T")


def paginate(records: Sequence[T], number: int, render: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """Return page `number` (from 1) of the rendered records; a page past the end has no results."""
    first = (number - 1) * PAGE_SIZE
    return {
        "page": number,
        "results": [render(record) for record in records[first : first + PAGE_SIZE]],
        "total_pages": max(1, -(-len(records) // PAGE_SIZE)),
        "total_results": len(records),
    }
