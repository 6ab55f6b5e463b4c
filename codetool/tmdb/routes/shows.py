"""`/tv/…`: lists of shows, and one show with what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import credits, list_items
from codetool.tmdb.air_dates import find_airing_shows
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep, get_or_404
from codetool.tmdb.error_responses import not_found
from codetool.tmdb.images import render_images, select_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Show
from codetool.tmdb.routes import reviews
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Append, ImageLanguages, Language, PageNumber
from codetool.tmdb.schemas.credit_schemas import ShowCredits
from codetool.tmdb.schemas.detail_schemas import ShowDetails
from codetool.tmdb.schemas.list_schemas import Page, ShowItem, TypedShow
from codetool.tmdb.schemas.show_schemas import ShowImages, ShowKeywords
from codetool.tmdb.schemas.title_schemas import Reviews
from codetool.tmdb.season_details import render_season_details
from codetool.tmdb.show_details import render_show_details
from codetool.tmdb.similar import find_recommended, find_similar

router = APIRouter(prefix="/tv")
ShowId = Annotated[int, Path(description="The show's id, as searches and lists return it.")]
WEEK = 7
"""Days after the catalog's date within which an episode of a show on the air must air."""
MIN_VOTES = 200
"""Minimum number of votes of a top rated show."""


@router.get("/popular", response_model=Page[ShowItem], summary="List popular TV shows")
async def popular_tv(here: CatalogDep, page: PageNumber = 1, language: Language = "") -> Any:
    """All shows, most popular first."""
    return _render_page(here, here.store.show_index.records, page, language)


@router.get("/top_rated", response_model=Page[ShowItem], summary="List the best rated TV shows")
async def top_rated_tv(here: CatalogDep, page: PageNumber = 1, language: Language = "") -> Any:
    """Shows with at least 200 votes, the best rated first."""
    return _render_page(here, _list_top_rated(here), page, language)


@router.get("/on_the_air", response_model=Page[ShowItem], summary="List TV shows that are on the air")
async def on_the_air_tv(here: CatalogDep, page: PageNumber = 1, language: Language = "") -> Any:
    """Shows with an episode in the next seven days, most popular first."""
    return _render_page(here, find_airing_shows(here, WEEK), page, language)


@router.get("/airing_today", response_model=Page[ShowItem], summary="List TV shows that air today")
async def airing_today_tv(here: CatalogDep, page: PageNumber = 1, language: Language = "") -> Any:
    """Shows with an episode today, most popular first."""
    return _render_page(here, find_airing_shows(here, 0), page, language)


@router.get("/latest", response_model=ShowDetails, summary="Get the newest TV show")
async def latest_tv(here: CatalogDep, language: Language = "") -> Any:
    """Details of the show that began last."""
    return render_show_details(here, _find_latest(here), language)


@router.get("/{tv_id}", response_model=ShowDetails, summary="Get a TV show's details")
async def tv_details(
    here: CatalogDep,
    tv_id: ShowId,
    append_to_response: Append = "",
    language: Language = "",
    include_image_language: Append = "",
) -> Any:
    """Creators, genres, networks, companies, seasons, last and next episode, and the number of episodes of a show."""
    record = get_or_404(here.store.shows, tv_id)
    body = render_show_details(here, record, language)
    if not append_to_response:
        return body
    return append_parts(body, append_to_response, _make_parts(here, record, language, include_image_language))


@router.get("/{tv_id}/credits", response_model=ShowCredits, summary="Get a TV show's cast and crew")
async def tv_credits(here: CatalogDep, tv_id: ShowId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.render_show_credits(here.store, get_or_404(here.store.shows, tv_id))


@router.get("/{tv_id}/images", response_model=ShowImages, summary="Get a TV show's images")
async def tv_images(
    here: CatalogDep, tv_id: ShowId, include_image_language: ImageLanguages = "", language: Language = ""
) -> Any:
    """Backdrops, logos and posters of a show."""
    return _render_images(get_or_404(here.store.shows, tv_id), select_languages(include_image_language, language))


@router.get("/{tv_id}/keywords", response_model=ShowKeywords, summary="Get a TV show's keywords")
async def tv_keywords(here: CatalogDep, tv_id: ShowId) -> Any:
    """The keywords of a show, in `results`."""
    return _render_keywords(here, get_or_404(here.store.shows, tv_id))


@router.get("/{tv_id}/reviews", response_model=Reviews, summary="Get a TV show's reviews")
async def tv_reviews(here: CatalogDep, tv_id: ShowId, page: PageNumber = 1) -> Any:
    """What users wrote about a show."""
    return _render_reviews(here, get_or_404(here.store.shows, tv_id), page)


@router.get("/{tv_id}/similar", response_model=Page[ShowItem], summary="List similar TV shows")
async def similar_tv(here: CatalogDep, tv_id: ShowId, page: PageNumber = 1, language: Language = "") -> Any:
    """Shows that share keywords and genres with a show, the closest first."""
    return _render_page(here, find_similar(here, get_or_404(here.store.shows, tv_id)), page, language)


@router.get("/{tv_id}/recommendations", response_model=Page[TypedShow], summary="List TV shows to watch after one")
async def recommended_tv(here: CatalogDep, tv_id: ShowId, page: PageNumber = 1, language: Language = "") -> Any:
    """Shows that somebody who likes a show may like too."""
    return _render_recommendations(here, get_or_404(here.store.shows, tv_id), page, language)


def _render_page(catalog: Catalog, shows: Sequence[Show], page: int, language: str) -> JSONObject:
    return paged(shows, page, lambda record: list_items.render_show(catalog.store, record, language))


def _render_images(record: Show, languages: str) -> JSONObject:
    return {
        "backdrops": render_images("tv backdrop", record.id, "backdrop", record.language, languages),
        "id": record.id,
        "logos": render_images("tv logo", record.id, "logo", record.language, languages),
        "posters": render_images("tv poster", record.id, "poster", record.language, languages),
    }


def _render_keywords(catalog: Catalog, record: Show) -> JSONObject:
    keywords = [{"name": name, "id": catalog.store.keywords[name]} for name in record.keywords]
    return {"id": record.id, "results": keywords}


def _render_recommendations(catalog: Catalog, record: Show, page: int, language: str) -> JSONObject:
    return paged(
        find_recommended(catalog, record),
        page,
        lambda other: list_items.render_with_media_type(catalog.store, other, language),
    )


def _render_reviews(catalog: Catalog, record: Show, page: int) -> JSONObject:
    return {"id": record.id, **paged(reviews.list_reviews(catalog, record), page, reviews.render_review)}


def _make_parts(
    catalog: Catalog, record: Show, language: str, image_languages: str
) -> dict[str, Callable[[], JSONObject]]:
    """Return the sub-resources that can be appended to the details of a show; seasons are `season/1` and so on."""
    return {
        "credits": lambda: credits.render_show_credits(catalog.store, record),
        "images": lambda: _render_images(record, select_languages(image_languages, language)),
        "keywords": lambda: _render_keywords(catalog, record),
        "recommendations": lambda: _render_recommendations(catalog, record, 1, language),
        "reviews": lambda: _render_reviews(catalog, record, 1),
        "similar": lambda: _render_page(catalog, find_similar(catalog, record), 1, language),
        **{
            f"season/{season}": partial(render_season_details, catalog, record.id, season)
            for season in range(1, len(record.seasons) + 1)
        },
    }


@lru_cache(maxsize=8)  # a catalog never changes
def _list_started(catalog: Catalog) -> Sequence[Show]:
    today = catalog.as_of.isoformat()
    return [show for show in catalog.store.show_index.records if show.first_air_date <= today]


@lru_cache(maxsize=8)
def _list_top_rated(catalog: Catalog) -> Sequence[Show]:
    rated = [show for show in _list_started(catalog) if show.vote_count >= MIN_VOTES]
    return sorted(rated, key=lambda show: (-show.vote_average, -show.vote_count, show.id))


@lru_cache(maxsize=8)
def _find_latest(catalog: Catalog) -> Show:
    if not _list_started(catalog):
        raise not_found()
    return max(_list_started(catalog), key=lambda show: (show.first_air_date, show.id))
