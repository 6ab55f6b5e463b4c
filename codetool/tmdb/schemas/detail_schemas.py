"""Shapes of single records: a film, show, person, collection or company."""

from __future__ import annotations

from codetool.tmdb.schemas.list_schemas import Answer, CompanyItem, Image, Text, TypedMovie


class Genre(Answer):
    id: int
    name: str


class Country(Answer):
    iso_3166_1: str
    name: str


class Language(Answer):
    english_name: str
    iso_639_1: str
    name: str


class CollectionLink(Answer):
    id: int
    name: str
    poster_path: Image
    backdrop_path: Image


class MovieDetails(Answer):
    adult: bool
    backdrop_path: Image
    belongs_to_collection: CollectionLink | None
    budget: int
    genres: list[Genre]
    homepage: str | None
    id: int
    imdb_id: str | None
    origin_country: list[str]
    original_language: str
    original_title: str
    overview: str
    popularity: float
    poster_path: Image
    production_companies: list[CompanyItem]
    production_countries: list[Country]
    release_date: str
    revenue: int
    runtime: int
    softcore: bool
    spoken_languages: list[Language]
    status: str
    tagline: str
    title: str
    video: bool
    vote_average: float
    vote_count: int


class Creator(Answer):
    id: int
    credit_id: str
    name: str
    original_name: Text
    gender: int
    profile_path: Image


class Episode(Answer):
    air_date: str | None
    episode_number: int
    episode_type: str
    id: int
    name: str
    overview: str
    production_code: str
    runtime: int
    season_number: int
    show_id: int
    still_path: Image
    vote_average: float
    vote_count: int


class SeasonItem(Answer):
    air_date: str
    episode_count: int
    id: int
    name: str
    overview: str
    poster_path: Image
    season_number: int
    vote_average: float


class ShowDetails(Answer):
    adult: bool
    backdrop_path: Image
    created_by: list[Creator]
    episode_run_time: list[int]
    first_air_date: str
    genres: list[Genre]
    homepage: str
    id: int
    in_production: bool
    languages: list[str]
    last_air_date: str | None
    last_episode_to_air: Episode | None
    name: str
    next_episode_to_air: Episode | None
    networks: list[CompanyItem]
    number_of_episodes: int
    number_of_seasons: int
    origin_country: list[str]
    original_language: str
    original_name: str
    overview: str
    popularity: float
    poster_path: Image
    production_companies: list[CompanyItem]
    production_countries: list[Country]
    seasons: list[SeasonItem]
    softcore: bool
    spoken_languages: list[Language]
    status: str
    tagline: str
    type: str
    vote_average: float
    vote_count: int


class PersonDetails(Answer):
    adult: bool
    also_known_as: list[str]
    biography: str
    birthday: str | None
    deathday: str | None
    gender: int
    homepage: str | None
    id: int
    imdb_id: str | None
    known_for_department: str
    name: str
    place_of_birth: str | None
    popularity: float
    profile_path: Image


class CollectionDetails(Answer):
    id: int
    name: str
    original_language: str
    original_name: str
    overview: str
    poster_path: Image
    backdrop_path: Image
    parts: list[TypedMovie]


class CompanyDetails(Answer):
    description: str
    headquarters: str
    homepage: str
    id: int
    logo_path: Image
    name: str
    origin_country: str
    parent_company: CompanyItem | None
