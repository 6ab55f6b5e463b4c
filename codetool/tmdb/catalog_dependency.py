"""FastAPI dependency of all routes: the data and the fixed date that counts as today."""

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


@dataclass(frozen=True, eq=False)  # cache keys compare catalogs by identity, not by content
class Catalog:
    """The data, and the date that counts as today for releases, air dates and trending lists."""

    store: Store
    as_of: date


async def _get_catalog(request: Request) -> Catalog:
    catalog = request.app.state.catalog
    assert isinstance(catalog, Catalog)
    return catalog


CatalogDep = Annotated[Catalog, Depends(_get_catalog)]
"""Catalog of the app that serves the request."""


def get_or_404(records: Mapping[Key, Record], key: Key) -> Record:
    """Return the record with an id. Raises TMDBError (404) if there is none."""
    if key not in records:
        raise not_found()
    return records[key]
