"""Records as they stand in lists: search results, filmographies, trending."""

from __future__ import annotations

from typing import Any

from codetool.tmdb.records import Collection, Movie, Organisation, Person, Show
from codetool.tmdb.store import Store
from codetool.tmdb.synthetic import image, logo, overview

JSONObject = dict[str, Any]


def title(record: Movie, language: str = "") -> str:
    """The film's title: the original one where `language` (`fr-FR`) is the film's own, else the English one."""
    return record.original_title if _own(record, language) and record.original_title else record.title


def name(record: Show, language: str = "") -> str:
    """The show's name: the original one where `language` is the show's own, else the English one."""
    return record.original_name if _own(record, language) and record.original_name else record.name


def release(record: Movie, region: str = "") -> str:
    """The day of the film's first release, in the region if one is named and its day known to differ."""
    return record.releases.get(region, record.release_date)


def movie(store: Store, record: Movie, language: str = "", region: str = "") -> JSONObject:
    """A film in a list."""
    return {
        "adult": False,
        "backdrop_path": image("movie backdrop", record.id),
        "genre_ids": [store.genres["movie", name] for name in record.genres],
        "id": record.id,
        "title": title(record, language),
        "original_language": record.language,
        "original_title": record.original_title or record.title,
        "overview": overview("film", record.genres, record.release_date),
        "popularity": record.popularity,
        "poster_path": image("movie poster", record.id),
        "release_date": release(record, region),
        "softcore": False,
        "video": False,
        "vote_average": record.vote_average,
        "vote_count": record.vote_count,
    }


def show(store: Store, record: Show, language: str = "") -> JSONObject:
    """A series in a list."""
    return {
        "adult": False,
        "backdrop_path": image("tv backdrop", record.id),
        "genre_ids": [store.genres["tv", name] for name in record.genres],
        "id": record.id,
        "origin_country": list(record.countries),
        "original_language": record.language,
        "original_name": record.original_name or record.name,
        "overview": overview("series", record.genres, record.first_air_date),
        "popularity": record.popularity,
        "poster_path": image("tv poster", record.id),
        "first_air_date": record.first_air_date,
        "softcore": False,
        "name": name(record, language),
        "vote_average": record.vote_average,
        "vote_count": record.vote_count,
    }


def typed(store: Store, record: Movie | Show, language: str = "") -> JSONObject:
    """A film or series in a list that mixes them."""
    if isinstance(record, Movie):
        return movie(store, record, language) | {"media_type": "movie"}
    return show(store, record, language) | {"media_type": "tv"}


def person(record: Person) -> JSONObject:
    """A person in a cast or crew."""
    return {
        "adult": False,
        "gender": record.gender,
        "id": record.id,
        "known_for_department": record.department,
        "name": record.name,
        "original_name": record.name,
        "popularity": record.popularity,
        "profile_path": image("person", record.id),
    }


def known_person(store: Store, record: Person, language: str = "") -> JSONObject:
    """A person in a list, with the three most popular works."""
    works: list[Movie | Show] = [*store.movies_of.get(record.name, ()), *store.shows_of.get(record.name, ())]
    best = sorted(works, key=lambda work: -work.popularity)[:3]
    return person(record) | {"known_for": [typed(store, work, language) for work in best]}


def collection(store: Store, record: Collection) -> JSONObject:
    """A collection in a list."""
    return {
        "adult": False,
        "backdrop_path": image("collection backdrop", record.id),
        "id": record.id,
        "name": record.name,
        "original_language": store.parts[record.id][0].language,
        "original_name": record.name,
        "overview": f"A series of {len(store.parts[record.id])} films.",
        "poster_path": image("collection poster", record.id),
    }


def organisation(record: Organisation) -> JSONObject:
    """A company or network in a list or inside another record."""
    return {
        "id": record.id,
        "logo_path": logo(record.id),
        "name": record.name,
        "origin_country": record.origin_country,
    }


def _own(record: Movie | Show, language: str) -> bool:
    return language[:2].lower() == record.language
