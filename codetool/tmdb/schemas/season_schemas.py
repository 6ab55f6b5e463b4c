"""Shapes of seasons and episodes."""

from __future__ import annotations

from pydantic import Field

from codetool.tmdb.schemas.credit_schemas import CastMember, CrewMember
from codetool.tmdb.schemas.list_schemas import Answer, CompanyItem, Image


class EpisodeDetails(Answer):
    air_date: str | None
    crew: list[CrewMember]
    episode_number: int
    episode_type: str
    guest_stars: list[CastMember]
    id: int
    name: str
    overview: str
    production_code: str
    runtime: int
    season_number: int
    still_path: Image
    vote_average: float
    vote_count: int


class SeasonEpisode(EpisodeDetails):
    show_id: int


class SeasonDetails(Answer):
    record_id: str = Field(alias="_id")
    air_date: str
    episodes: list[SeasonEpisode]
    id: int
    name: str
    networks: list[CompanyItem]
    overview: str
    poster_path: Image
    season_number: int
    vote_average: float


class SeasonCredits(Answer):
    id: int
    cast: list[CastMember]
    crew: list[CrewMember]


class EpisodeCredits(SeasonCredits):
    guest_stars: list[CastMember]
