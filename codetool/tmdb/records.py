"""The frozen rows of the replica: what its data files say, with names where TMDB has ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["movie", "tv"]


@dataclass(frozen=True, slots=True)
class Person:
    """One row of `people.csv`; an empty text means unknown."""

    id: int
    name: str
    gender: int
    """0 not set, 1 female, 2 male, 3 non-binary, as TMDB counts."""
    department: str
    birthday: str
    deathday: str
    place_of_birth: str
    popularity: float
    also_known_as: tuple[str, ...] = ()
    """Birth names and names in other scripts; in the file joined by ` | `."""


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
    """A series of films; its parts are the films that name it."""

    id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """One line of `movies.jsonl`."""

    id: int
    title: str
    release_date: str
    runtime: int
    """Minutes."""
    genres: tuple[str, ...]
    companies: tuple[str, ...]
    vote_average: float
    """0 to 10."""
    vote_count: int
    popularity: float
    cast: Mapping[str, str]
    """Actor to character, in billing order."""
    crew: Mapping[str, tuple[str, ...]]
    """Job to names."""
    original_title: str = ""
    language: str = "en"
    countries: tuple[str, ...] = ("US",)
    collection: int | None = None
    keywords: tuple[str, ...] = ()
    certification: str = ""
    """Of the Motion Picture Association in the US: `PG-13`; empty where none is known."""
    releases: Mapping[str, str] = field(default_factory=dict)
    """Country to the day of its first cinema release, where it is not `release_date`."""
    budget: int = 0
    """US dollars; 0 is TMDB's unknown."""
    revenue: int = 0
    """US dollars; 0 is TMDB's unknown."""
    imdb_id: str = ""
    """`tt0137523`; empty where it is not known."""


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
    """Minutes of one episode."""
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
        """The day the first season began."""
        return self.seasons[0].air_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One line of `episodes.jsonl`: an episode of which more is known than its number."""

    show: int
    season: int
    number: int
    name: str
    air_date: str
    directors: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    cast: Mapping[str, str] = field(default_factory=dict)
    """Actor to character where the leads are this episode's own, as in an anthology; else the show's cast plays."""
    guests: Mapping[str, str] = field(default_factory=dict)
    """Guest star to character."""
