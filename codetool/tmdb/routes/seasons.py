"""`/tv/{id}/season/{number}`: one season of a show."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb.air_dates import get_seasons
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep, get_or_404
from codetool.tmdb.episode_credits import merge_season_cast, render_cast, render_season_crew
from codetool.tmdb.error_responses import not_found
from codetool.tmdb.images import render_images, select_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Show
from codetool.tmdb.routes.parameters import Append, ImageLanguages, Language
from codetool.tmdb.routes.shows import ShowId
from codetool.tmdb.schemas.season_schemas import SeasonCredits, SeasonDetails
from codetool.tmdb.schemas.show_schemas import SeasonImages
from codetool.tmdb.season_details import make_season_id, render_season_details

router = APIRouter(prefix="/tv/{tv_id}/season/{season_number}")
SeasonNumber = Annotated[int, Path(description="The season's number in its show, from 1.")]


@router.get("", response_model=SeasonDetails, summary="Get a season's details")
async def season(
    here: CatalogDep,
    tv_id: ShowId,
    season_number: SeasonNumber,
    append_to_response: Append = "",
    language: Language = "",
) -> Any:
    """First air date of a season, and all its episodes with name, air date, crew and guest stars."""
    show = _get_show(here, tv_id, season_number)
    languages = select_languages("", language)
    parts = {
        "credits": lambda: _render_credits(here, show, season_number),
        "images": lambda: _render_images(show, season_number, languages),
    }
    return append_parts(render_season_details(here, tv_id, season_number), append_to_response, parts)


@router.get("/credits", response_model=SeasonCredits, summary="Get a season's cast and crew")
async def season_credits(here: CatalogDep, tv_id: ShowId, season_number: SeasonNumber) -> Any:
    """The regular cast and crew of a season; directors and writers are credited with their episodes."""
    return _render_credits(here, _get_show(here, tv_id, season_number), season_number)


@router.get("/images", response_model=SeasonImages, summary="Get a season's images")
async def season_images(
    here: CatalogDep,
    tv_id: ShowId,
    season_number: SeasonNumber,
    include_image_language: ImageLanguages = "",
    language: Language = "",
) -> Any:
    """Posters of a season."""
    show = _get_show(here, tv_id, season_number)
    return _render_images(show, season_number, select_languages(include_image_language, language))


def _get_show(catalog: Catalog, tv_id: int, number: int) -> Show:
    """Return the show that has the season. Raises TMDBError (404) if there is none."""
    show = get_or_404(catalog.store.shows, tv_id)
    if not 1 <= number <= len(show.seasons):
        raise not_found()
    return show


def _render_credits(catalog: Catalog, show: Show, number: int) -> JSONObject:
    episodes = get_seasons(catalog, show)[number - 1]
    return {
        "cast": render_cast(catalog.store, show, merge_season_cast(show, episodes)),
        "crew": render_season_crew(catalog.store, show, episodes),
        "id": make_season_id(show, number),
    }


def _render_images(show: Show, number: int, languages: str) -> JSONObject:
    posters = render_images(f"tv season {number}", show.id, "poster", show.language, languages)
    return {"id": make_season_id(show, number), "posters": posters}
