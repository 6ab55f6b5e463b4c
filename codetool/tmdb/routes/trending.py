"""`/trending/…`: what is watched most around the catalogue's frozen day.

Interest fades with age: popularity / (1 + age / horizon), 30 days for the daily and 90 for the weekly list. A film's
age counts from its release, a show's from its last episode; people do not age.
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
    return paged(_ranked(here, media_type, time_window), page, lambda record: _item(here, record, language))


@lru_cache(maxsize=32)  # a catalogue never changes
def _ranked(here: Catalog, media_type: str, time_window: str) -> list[Movie | Show | Person]:
    horizon = HORIZON[time_window]
    return sorted(_released(here, media_type), key=lambda record: (-_heat(record, here.as_of, horizon), record.id))


def _released(here: Catalog, media_type: str) -> list[Movie | Show | Person]:
    today = here.as_of.isoformat()
    found: list[Movie | Show | Person] = []
    if media_type in ("all", "movie"):
        found += [record for record in here.store.movies.values() if record.release_date <= today]
    if media_type in ("all", "tv"):
        found += [record for record in here.store.shows.values() if record.first_air_date <= today]
    if media_type in ("all", "person"):
        found += here.store.people.values()
    return found


def _heat(record: Movie | Show | Person, as_of: date, horizon: float) -> float:
    if isinstance(record, Person):
        return record.popularity
    fresh = record.release_date if isinstance(record, Movie) else record.last_air_date
    age = max(0, (as_of - date.fromisoformat(fresh)).days)
    return record.popularity / (1 + age / horizon)


def _item(here: Catalog, record: Movie | Show | Person, language: str) -> list_items.JSONObject:
    if isinstance(record, Person):
        return list_items.render_known_person(here.store, record, language) | {"media_type": "person"}
    return list_items.render_with_media_type(here.store, record, language)
