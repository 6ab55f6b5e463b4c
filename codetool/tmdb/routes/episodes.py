"""`/tv/{id}/season/{number}/episode/{number}`: one episode of a show."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb.air_dates import get_seasons
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep, get_or_404
from codetool.tmdb.episode_credits import get_cast, render_cast, render_episode_crew, render_guest_stars
from codetool.tmdb.error_responses import not_found
from codetool.tmdb.images import render_images, select_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Show
from codetool.tmdb.routes.parameters import Append, ImageLanguages, Language
from codetool.tmdb.routes.seasons import SeasonNumber
from codetool.tmdb.routes.shows import ShowId
from codetool.tmdb.schemas.season_schemas import EpisodeCredits, EpisodeDetails
from codetool.tmdb.schemas.show_schemas import EpisodeImages
from codetool.tmdb.season_details import make_episode_id, make_still_stem, render_episode_details

router = APIRouter(prefix="/tv/{tv_id}/season/{season_number}/episode/{episode_number}")
EpisodeNumber = Annotated[int, Path(description="The episode's number in its season, from 1.")]


@router.get("", response_model=EpisodeDetails, summary="Get an episode's details")
async def episode(
    here: CatalogDep,
    tv_id: ShowId,
    season_number: SeasonNumber,
    episode_number: EpisodeNumber,
    append_to_response: Append = "",
    language: Language = "",
) -> Any:
    """Name, air date, runtime, crew and guest stars of an episode."""
    show, record = _get_show_and_episode(here, tv_id, season_number, episode_number)
    languages = select_languages("", language)
    parts = {
        "credits": lambda: _render_credits(here, show, record),
        "images": lambda: _render_images(show, record, languages),
    }
    return append_parts(render_episode_details(here, show, record), append_to_response, parts)


@router.get("/credits", response_model=EpisodeCredits, summary="Get an episode's cast, crew and guest stars")
async def episode_credits(
    here: CatalogDep, tv_id: ShowId, season_number: SeasonNumber, episode_number: EpisodeNumber
) -> Any:
    """The cast in billing order, the crew with its director and writers, and the guest stars of an episode."""
    return _render_credits(here, *_get_show_and_episode(here, tv_id, season_number, episode_number))


@router.get("/images", response_model=EpisodeImages, summary="Get an episode's images")
async def episode_images(
    here: CatalogDep,
    tv_id: ShowId,
    season_number: SeasonNumber,
    episode_number: EpisodeNumber,
    include_image_language: ImageLanguages = "",
    language: Language = "",
) -> Any:
    """Stills of an episode."""
    languages = select_languages(include_image_language, language)
    return _render_images(*_get_show_and_episode(here, tv_id, season_number, episode_number), languages)


def _get_show_and_episode(catalog: Catalog, tv_id: int, season: int, number: int) -> tuple[Show, Episode]:
    """Return the show and its episode. Raises TMDBError (404) if there is none."""
    show = get_or_404(catalog.store.shows, tv_id)
    if not (1 <= season <= len(show.seasons) and 1 <= number <= show.seasons[season - 1].episodes):
        raise not_found()
    return show, get_seasons(catalog, show)[season - 1][number - 1]


def _render_credits(catalog: Catalog, show: Show, record: Episode) -> JSONObject:
    return {
        "cast": render_cast(catalog.store, show, get_cast(show, record)),
        "crew": render_episode_crew(catalog.store, show, record),
        "guest_stars": render_guest_stars(catalog.store, show, record),
        "id": make_episode_id(record),
    }


def _render_images(show: Show, record: Episode, languages: str) -> JSONObject:
    stills = render_images(make_still_stem(record), show.id, "still", show.language, languages)
    return {"id": make_episode_id(record), "stills": stills}
