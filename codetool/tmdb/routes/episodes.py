"""`/tv/{id}/season/{number}/episode/{number}`: one episode of a show."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb.air_dates import seasons
from codetool.tmdb.append_to_response import appended
from codetool.tmdb.catalog_dependency import Catalogue, Here, find
from codetool.tmdb.episode_credits import cast_names, cast_of, episode_crew, guest_stars
from codetool.tmdb.error_responses import not_found
from codetool.tmdb.images import asked_languages, pictures
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Show
from codetool.tmdb.routes.parameters import Append, ImageLanguages, Language
from codetool.tmdb.routes.seasons import SeasonNumber
from codetool.tmdb.routes.shows import ShowId
from codetool.tmdb.schemas.season_schemas import EpisodeCredits, EpisodeDetails
from codetool.tmdb.schemas.show_schemas import EpisodeImages
from codetool.tmdb.season_details import episode_details, episode_id, still_stem

router = APIRouter(prefix="/tv/{tv_id}/season/{season_number}/episode/{episode_number}")
EpisodeNumber = Annotated[int, Path(description="The episode's number in its season, from 1.")]


@router.get("", response_model=EpisodeDetails, summary="Get an episode's details")
async def episode(
    here: Here,
    tv_id: ShowId,
    season_number: SeasonNumber,
    episode_number: EpisodeNumber,
    append_to_response: Append = "",
    language: Language = "",
) -> Any:
    """Name, air date, runtime, crew and guest stars of an episode."""
    show, record = _find(here, tv_id, season_number, episode_number)
    wanted = asked_languages("", language)
    parts = {"credits": lambda: _credits(here, show, record), "images": lambda: _images(show, record, wanted)}
    return appended(episode_details(here, show, record), append_to_response, parts)


@router.get("/credits", response_model=EpisodeCredits, summary="Get an episode's cast, crew and guest stars")
async def episode_credits(here: Here, tv_id: ShowId, season_number: SeasonNumber, episode_number: EpisodeNumber) -> Any:
    """The cast in billing order, the crew with its director and writers, and the guest stars of an episode."""
    return _credits(here, *_find(here, tv_id, season_number, episode_number))


@router.get("/images", response_model=EpisodeImages, summary="Get an episode's images")
async def episode_images(
    here: Here,
    tv_id: ShowId,
    season_number: SeasonNumber,
    episode_number: EpisodeNumber,
    include_image_language: ImageLanguages = "",
    language: Language = "",
) -> Any:
    """Stills of an episode."""
    asked = asked_languages(include_image_language, language)
    return _images(*_find(here, tv_id, season_number, episode_number), asked)


def _find(here: Catalogue, tv_id: int, season: int, number: int) -> tuple[Show, Episode]:
    """The show and its episode. Raises TMDB's 404 where there is none."""
    show = find(here.store.shows, tv_id)
    if not (1 <= season <= len(show.seasons) and 1 <= number <= show.seasons[season - 1].episodes):
        raise not_found()
    return show, seasons(here, show)[season - 1][number - 1]


def _credits(here: Catalogue, show: Show, record: Episode) -> JSONObject:
    return {
        "cast": cast_of(here.store, show, cast_names(show, record)),
        "crew": episode_crew(here.store, show, record),
        "guest_stars": guest_stars(here.store, show, record),
        "id": episode_id(record),
    }


def _images(show: Show, record: Episode, asked: str) -> JSONObject:
    stills = pictures(still_stem(record), show.id, "still", show.language, asked)
    return {"id": episode_id(record), "stills": stills}
