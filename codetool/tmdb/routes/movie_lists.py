"""`/movie/…` without an id: latest, now playing, upcoming, popular and top rated films on the catalog's date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from fastapi import APIRouter

from codetool.tmdb import details, list_items
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep
from codetool.tmdb.error_responses import not_found
from codetool.tmdb.list_items import JSONObject, get_release_day
from codetool.tmdb.records import Movie
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Language, PageNumber, Region
from codetool.tmdb.schemas.detail_schemas import MovieDetails
from codetool.tmdb.schemas.list_schemas import DatedMovies, MovieItem, Page

router = APIRouter(prefix="/movie")
IN_CINEMAS = timedelta(days=42)
"""Time that a film is shown in cinemas."""
UPCOMING = timedelta(days=28)
"""Period of the list of upcoming films."""
MIN_VOTES = 300
"""Minimum number of votes of a top rated film."""


@router.get("/latest", response_model=MovieDetails, summary="Get the latest film's details")
async def latest_movie(here: CatalogDep, language: Language = "") -> Any:
    """The film released last, with the same details as a film asked for by its id."""
    released = _list_released(here, "")
    if not released:
        raise not_found()
    newest = max(released, key=lambda record: (record.release_date, record.id))
    return details.render_movie_details(here.store, newest, here.as_of, language)


@router.get("/now_playing", response_model=DatedMovies, summary="List films now in cinemas")
async def movies_now_playing(
    here: CatalogDep, page: PageNumber = 1, region: Region = "", language: Language = ""
) -> Any:
    """Films released in the last six weeks (`dates`), most popular first."""
    first, last = (here.as_of - IN_CINEMAS).isoformat(), here.as_of.isoformat()
    return _render_dated_page(here, (first, last), page, region, language)


@router.get("/popular", response_model=Page[MovieItem], summary="List popular films")
async def popular_movies(here: CatalogDep, page: PageNumber = 1, region: Region = "", language: Language = "") -> Any:
    """Released films, most popular first."""
    return paged(_list_released(here, region), page, _make_renderer(here, region, language))


@router.get("/top_rated", response_model=Page[MovieItem], summary="List the best rated films")
async def top_rated_movies(here: CatalogDep, page: PageNumber = 1, region: Region = "", language: Language = "") -> Any:
    """Released films with enough votes, the best rated first."""
    return paged(_list_top_rated(here, region), page, _make_renderer(here, region, language))


@router.get("/upcoming", response_model=DatedMovies, summary="List films that come to cinemas soon")
async def upcoming_movies(here: CatalogDep, page: PageNumber = 1, region: Region = "", language: Language = "") -> Any:
    """Films released in the next four weeks (`dates`), most popular first."""
    first, last = (here.as_of + timedelta(days=1)).isoformat(), (here.as_of + UPCOMING).isoformat()
    return _render_dated_page(here, (first, last), page, region, language)


def _render_dated_page(catalog: Catalog, window: tuple[str, str], page: int, region: str, language: str) -> JSONObject:
    dates = {"minimum": window[0], "maximum": window[1]}
    return {"dates": dates} | paged(
        _list_released_between(catalog, window, region), page, _make_renderer(catalog, region, language)
    )


def _make_renderer(catalog: Catalog, region: str, language: str) -> Callable[[Movie], JSONObject]:
    return lambda record: list_items.render_movie(catalog.store, record, language, region)


@lru_cache(maxsize=256)  # a catalog never changes
def _list_released_between(catalog: Catalog, window: tuple[str, str], region: str) -> Sequence[Movie]:
    return [
        record
        for record in catalog.store.movie_index.records
        if window[0] <= get_release_day(record, region) <= window[1]
    ]


@lru_cache(maxsize=256)
def _list_released(catalog: Catalog, region: str) -> Sequence[Movie]:
    today = catalog.as_of.isoformat()
    return [record for record in catalog.store.movie_index.records if get_release_day(record, region) <= today]


@lru_cache(maxsize=256)
def _list_top_rated(catalog: Catalog, region: str) -> Sequence[Movie]:
    rated = [record for record in _list_released(catalog, region) if record.vote_count >= MIN_VOTES]
    return sorted(rated, key=lambda record: (-record.vote_average, -record.vote_count, record.id))
