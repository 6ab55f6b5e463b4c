"""Shapes of lists: searches, popular, trending. Keys and types follow TMDB's answers of API version 3.

The routes' answers pass through these models, and the OpenAPI document is made from them.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.json_schema import SkipJsonSchema

Image = str | None
"""A path below the image server, for example `/abc.jpg`, or null."""


class Answer(BaseModel):
    """Base of all answers: a key that the schema does not name is a mistake of ours."""

    model_config = ConfigDict(extra="forbid")


Text = SkipJsonSchema[str]
"""A text that the service answers and that its published document, and so the replica's, leaves out."""


class MovieItem(Answer):
    adult: bool
    backdrop_path: Image
    genre_ids: list[int]
    id: int
    title: str
    original_language: str
    original_title: str
    overview: str
    popularity: float
    poster_path: Image
    release_date: str
    softcore: bool
    video: bool
    vote_average: float
    vote_count: int


class ShowItem(Answer):
    adult: bool
    backdrop_path: Image
    genre_ids: list[int]
    id: int
    origin_country: list[str]
    original_language: str
    original_name: str
    overview: str
    popularity: float
    poster_path: Image
    first_air_date: str
    softcore: bool
    name: str
    vote_average: float
    vote_count: int


class TypedMovie(MovieItem):
    media_type: Literal["movie"]


class TypedShow(ShowItem):
    media_type: Literal["tv"]


class PersonItem(Answer):
    adult: bool
    gender: int
    id: int
    known_for_department: str
    name: str
    original_name: str
    popularity: float
    profile_path: Image


class FoundPerson(PersonItem):
    known_for: list[TypedMovie | TypedShow]


class TypedPerson(FoundPerson):
    media_type: Literal["person"]


class CollectionItem(Answer):
    adult: bool
    backdrop_path: Image
    id: int
    name: str
    original_language: str
    original_name: str
    overview: str
    poster_path: Image


class CompanyItem(Answer):
    id: int
    logo_path: Image
    name: str
    origin_country: str


Item = TypeVar("Item", bound=BaseModel)


class Page(Answer, Generic[Item]):
    page: int
    results: list[Item]
    total_pages: int
    total_results: int


class Trending(Answer):
    page: int
    results: list[TypedMovie | TypedShow | TypedPerson]
    total_pages: int
    total_results: int


class Dates(Answer):
    maximum: str
    minimum: str


class DatedMovies(Page[MovieItem]):
    dates: Dates
