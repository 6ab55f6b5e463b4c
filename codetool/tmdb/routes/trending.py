"""`/trending/…`: films, shows and people that are trending on the catalog's date.

The score is popularity / (1 + age / horizon), with a horizon of 30 days for the daily and 90 for the weekly list. The
age of a film counts from its release, that of a show from its last episode; for people it is 0.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path

from codetool.tmdb import list_items
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep
from codetool.tmdb.records import Movie, Person, Show
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Language, PageNumber
from codetool.tmdb.schemas.list_schemas import Trending

router = APIRouter(prefix="/trending")
MediaType = Annotated[Literal["all", "movie", "tv", "person"], Path(description="What kind of entries to list.")]
TimeWindow = Annotated[Literal["day", "week"], Path(description="Whether today or this week counts.")]
HORIZON = {"day": 30.0, "week": 90.0}


@router.get("/{media_type}/{time_window}", response_model=Trending, summary="List what is trending")
async def trending(
    here: CatalogDep, media_type: MediaType, time_window: TimeWindow, page: PageNumber = 1, language: Language = ""
) -> Any:
    """Films, shows or people that are trending today or this week, the first one most."""
    return paged(_rank(here, media_type, time_window), page, lambda record: _render_item(here, record, language))


@lru_cache(maxsize=32)  # a catalog never changes
def _rank(catalog: Catalog, media_type: str, time_window: str) -> list[Movie | Show | Person]:
    horizon = HORIZON[time_window]
    return sorted(
        _list_released(catalog, media_type),
        key=lambda record: (-_compute_interest(record, catalog.as_of, horizon), record.id),
    )


def _list_released(catalog: Catalog, media_type: str) -> list[Movie | Show | Person]:
    today = catalog.as_of.isoformat()
    released: list[Movie | Show | Person] = []
    if media_type in ("all", "movie"):
        released += [record for record in catalog.store.movies.values() if record.release_date <= today]
    if media_type in ("all", "tv"):
        released += [record for record in catalog.store.shows.values() if record.first_air_date <= today]
    if media_type in ("all", "person"):
        released += catalog.store.people.values()
    return released


def _compute_interest(record: Movie | Show | Person, as_of: date, horizon: float) -> float:
    if isinstance(record, Person):
        return record.popularity
    newest_day = record.release_date if isinstance(record, Movie) else record.last_air_date
    age = max(0, (as_of - date.fromisoformat(newest_day)).days)
    return record.popularity / (1 + age / horizon)


def _render_item(catalog: Catalog, record: Movie | Show | Person, language: str) -> list_items.JSONObject:
    if isinstance(record, Person):
        return list_items.render_known_person(catalog.store, record, language) | {"media_type": "person"}
    return list_items.render_with_media_type(catalog.store, record, language)
