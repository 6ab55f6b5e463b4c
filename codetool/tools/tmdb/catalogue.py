"""What every route needs: the data, and the frozen day that decides what is released and what is trending."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Request

from codetool.tools.tmdb.failures import not_found
from codetool.tools.tmdb.store import Store


class _Ranked(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def popularity(self) -> float: ...


Ranked = TypeVar("Ranked", bound=_Ranked)
Record = TypeVar("Record")


@dataclass(frozen=True)
class Catalogue:
    """The store as it stood on one day."""

    store: Store
    as_of: date


async def _catalogue(request: Request) -> Catalogue:
    found = request.app.state.catalogue
    assert isinstance(found, Catalogue)
    return found


Here = Annotated[Catalogue, Depends(_catalogue)]
"""The catalogue of the app that serves the request."""


def find(records: Mapping[int, Record], number: int) -> Record:
    """The record of that id. Raises TMDB's 404 for an id that nobody has."""
    if number not in records:
        raise not_found()
    return records[number]


def by_popularity(records: Iterable[Ranked]) -> Sequence[Ranked]:
    """Most popular first; the smaller id decides between equals."""
    return sorted(records, key=lambda record: (-record.popularity, record.id))
