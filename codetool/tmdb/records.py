"""Frozen dataclasses for the rows of the replica's data files. Rows refer to each other by name, except collections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["movie", "tv"]


@dataclass(frozen=True, slots=True)
class Person:
    """One row of `people.csv`; an empty string means unknown."""

    id: int
    name: str
    gender: int
    """TMDB's code: 0 not set, 1 female, 2 male, 3 non-binary."""
    department: str
    birthday: str
    deathday: str
    place_of_birth: str
    popularity: float
    also_known_as: tuple[str, ...] = ()
    """Birth names and names in other scripts; separated by ` | ` in the file."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """A production company or a network."""

    id: int
    name: str
    origin_country: str
    homepage: str
    headquarters: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """A series of films; its parts are the films that refer to it."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """One line of `movies.jsonl`."""

    id: int
    title: str
    release_date: str
    runtime: int
    """Length in minutes."""
    genres: tuple[str, ...]
    companies: tuple[str, ...]
    vote_average: float
    """Average rating, 0 to 10."""
    vote_count: int
    popularity: float
    cast: Mapping[str, str]
    """Actors in billing order, with their characters."""
    crew: Mapping[str, tuple[str, ...]]
    """Names of the people in each job."""
    original_title: str = ""
    language: str = "en"
    countries: tuple[str, ...] = ("US",)
    collection: int | None = None
    keywords: tuple[str, ...] = ()
    certification: str = ""
    """Rating of the US Motion Picture Association, e.g. `PG-13`; empty if unknown."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """Date of the first cinema release by country, where it differs from `release_date`."""
    budget: int = 0
    """US dollars; 0 if unknown."""
    revenue: int = 0
    """US dollars; 0 if unknown."""
    imdb_id: str = ""
    """IMDb id, e.g. `tt0137523`; empty if unknown."""


@dataclass(frozen=True, slots=True)
class Season:
    """A season's first air date and its number of episodes."""

    air_date: str
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """One line of `shows.jsonl`."""

    id: int
    name: str
    genres: tuple[str, ...]
    status: str
    countries: tuple[str, ...]
    language: str
    seasons: tuple[Season, ...]
    last_air_date: str
    runtime: int
    """Length of an episode in minutes."""
    homepage: str
    networks: tuple[str, ...]
    companies: tuple[str, ...]
    vote_average: float
    vote_count: int
    popularity: float
    created_by: tuple[str, ...]
    cast: Mapping[str, str]
    crew: Mapping[str, tuple[str, ...]]
    original_name: str = ""
    type: str = "Scripted"
    keywords: tuple[str, ...] = ()

    @property
    def first_air_date(self) -> str:
        """Air date of the first season."""
        return self.seasons[0].air_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One line of `episodes.jsonl`: an episode of which more is known than its number in the season."""

    show: int
    season: int
    number: int
    name: str
    air_date: str
    directors: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    cast: Mapping[str, str] = field(default_factory=dict)
    """Actors with their characters if this episode has its own leads, as in an anthology; empty: the show's cast."""
    guests: Mapping[str, str] = field(default_factory=dict)
    """Guest stars with their characters."""
