"""Shapes of what belongs to a film or show: keywords, reviews, release dates, genres, one credit."""

from __future__ import annotations

from typing import Literal

from codetool.tmdb.schemas.detail_schemas import Episode, Genre, SeasonItem
from codetool.tmdb.schemas.list_schemas import Answer, Image, Page, TypedMovie, TypedShow


class GenreList(Answer):
    genres: list[Genre]


class Keyword(Answer):
    id: int
    name: str


class MovieKeywords(Answer):
    """Films have `keywords` where shows have `results`."""

    id: int
    keywords: list[Keyword]


class ShowKeywords(Answer):
    id: int
    results: list[Keyword]


class Author(Answer):
    name: str
    username: str
    avatar_path: Image
    rating: float | None


class Review(Answer):
    author: str
    author_details: Author
    content: str
    created_at: str
    id: str
    updated_at: str
    url: str


class Reviews(Page[Review]):
    id: int


class ReviewDetails(Review):
    iso_639_1: str
    media_id: int
    media_title: str
    media_type: Literal["Movie", "TV"]


class Release(Answer):
    certification: str
    descriptors: list[str]
    iso_639_1: str
    note: str
    release_date: str
    type: int


class CountryReleases(Answer):
    iso_3166_1: str
    release_dates: list[Release]


class ReleaseDates(Answer):
    id: int
    results: list[CountryReleases]


class CreditEpisode(Episode):
    media_type: Literal["tv_episode"]


class CreditSeason(SeasonItem):
    media_type: Literal["tv_season"]
    show_id: int


class CreditMovie(TypedMovie):
    character: str


class CreditShow(TypedShow):
    character: str
    episodes: list[CreditEpisode]
    seasons: list[CreditSeason]


class CreditPerson(Answer):
    adult: bool
    id: int
    name: str
    original_name: str
    media_type: Literal["person"]
    popularity: float
    gender: int
    known_for_department: str
    profile_path: Image


class CreditDetails(Answer):
    credit_type: Literal["cast", "crew"]
    department: str
    job: str
    media: CreditMovie | CreditShow
    media_type: Literal["movie", "tv"]
    id: str
    person: CreditPerson
