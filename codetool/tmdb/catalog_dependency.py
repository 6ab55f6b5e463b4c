"""FastAPI dependency of all routes: the data, and the fixed date that decides what is released and trending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from codetool.tmdb.error_responses import not_found
from codetool.tmdb.store import Store

Key = TypeVar("Key", int, str)
Record = TypeVar("Record")


@dataclass(frozen=True, eq=False)  # a key of caches by what it is, not by what it holds
class Catalog:
    """The store as it stood on one day."""

    store: Store
    as_of: date


async def _get_catalog(request: Request) -> Catalog:
    found = request.app.state.catalogue
    assert isinstance(found, Catalog)
    return found


CatalogDep = Annotated[Catalog, Depends(_get_catalog)]
"""The catalogue of the app that serves the request."""


def get_or_404(records: Mapping[Key, Record], number: Key) -> Record:
    """The record of that id. Raises TMDB's 404 for an id that nobody has."""
    if number not in records:
        raise not_found()
    return records[number]
