"""Shapes of casts, crews and filmographies."""

from __future__ import annotations

from codetool.tmdb.schemas.list_schemas import Answer, MovieItem, PersonItem, ShowItem, Text


class CastMember(PersonItem):
    character: str
    credit_id: str
    order: int


class MovieCastMember(CastMember):
    cast_id: int


class CrewMember(PersonItem):
    credit_id: str
    department: str
    job: str


class MovieCredits(Answer):
    id: int
    cast: list[MovieCastMember]
    crew: list[CrewMember]


class ShowCredits(Answer):
    id: int
    cast: list[CastMember]
    crew: list[CrewMember]


class MovieRole(MovieItem):
    character: str
    credit_id: str
    order: int


class MovieJob(MovieItem):
    credit_id: str
    department: str
    job: str


class PersonMovieCredits(Answer):
    id: int
    cast: list[MovieRole]
    crew: list[MovieJob]


class ShowRole(ShowItem):
    character: str
    credit_id: str
    episode_count: int
    first_credit_air_date: Text


class ShowJob(ShowItem):
    credit_id: str
    department: str
    episode_count: int
    first_credit_air_date: Text
    job: str


class PersonShowCredits(Answer):
    id: int
    cast: list[ShowRole]
    crew: list[ShowJob]
