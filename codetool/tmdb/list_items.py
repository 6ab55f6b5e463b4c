"""Render records as list entries, for search results, filmographies and trending lists."""

from __future__ import annotations

from typing import Any

from codetool.tmdb.records import Collection, Movie, Organisation, Person, Show
from codetool.tmdb.store import Store
from codetool.tmdb.synthetic import make_image_path, make_logo_path, write_overview

JSONObject = dict[str, Any]


def localize_title(record: Movie, language: str = "") -> str:
    """Return the original title if `language` (e.g. `fr-FR`) is the language of the film, else the English title."""
    return record.original_title if _is_original_language(record, language) and record.original_title else record.title


def localize_name(record: Show, language: str = "") -> str:
    """Return the original name if `language` is the language of the show, else the English name."""
    return record.original_name if _is_original_language(record, language) and record.original_name else record.name


def get_release_day(record: Movie, region: str = "") -> str:
    """Return the date of the first release, in the region if its date is known, else anywhere."""
    return record.releases.get(region, record.release_date)


def render_movie(store: Store, record: Movie, language: str = "", region: str = "") -> JSONObject:
    """Return the list entry of a film."""
    return {
        "adult": False,
        "backdrop_path": make_image_path("movie backdrop", record.id),
        "genre_ids": [store.genres["movie", name] for name in record.genres],
        "id": record.id,
        "title": localize_title(record, language),
        "original_language": record.language,
        "original_title": record.original_title or record.title,
        "overview": write_overview("film", record.genres, record.release_date),
        "popularity": record.popularity,
        "poster_path": make_image_path("movie poster", record.id),
        "release_date": get_release_day(record, region),
        "softcore": False,
        "video": False,
        "vote_average": record.vote_average,
        "vote_count": record.vote_count,
    }


def render_show(store: Store, record: Show, language: str = "") -> JSONObject:
    """Return the list entry of a show."""
    return {
        "adult": False,
        "backdrop_path": make_image_path("tv backdrop", record.id),
        "genre_ids": [store.genres["tv", name] for name in record.genres],
        "id": record.id,
        "origin_country": list(record.countries),
        "original_language": record.language,
        "original_name": record.original_name or record.name,
        "overview": write_overview("series", record.genres, record.first_air_date),
        "popularity": record.popularity,
        "poster_path": make_image_path("tv poster", record.id),
        "first_air_date": record.first_air_date,
        "softcore": False,
        "name": localize_name(record, language),
        "vote_average": record.vote_average,
        "vote_count": record.vote_count,
    }


def render_with_media_type(store: Store, record: Movie | Show, language: str = "") -> JSONObject:
    """Return the list entry of a film or show with its `media_type`, for lists of both."""
    if isinstance(record, Movie):
        return render_movie(store, record, language) | {"media_type": "movie"}
    return render_show(store, record, language) | {"media_type": "tv"}


def render_person(record: Person) -> JSONObject:
    """Return the entry of a person in a cast or crew."""
    return {
        "adult": False,
        "gender": record.gender,
        "id": record.id,
        "known_for_department": record.department,
        "name": record.name,
        "original_name": record.name,
        "popularity": record.popularity,
        "profile_path": make_image_path("person", record.id),
    }


def render_known_person(store: Store, record: Person, language: str = "") -> JSONObject:
    """Return the list entry of a person with the three most popular works."""
    works: list[Movie | Show] = [*store.movies_of.get(record.name, ()), *store.shows_of.get(record.name, ())]
    best = sorted(works, key=lambda work: -work.popularity)[:3]
    return render_person(record) | {"known_for": [render_with_media_type(store, work, language) for work in best]}


def render_collection(store: Store, record: Collection) -> JSONObject:
    """Return the list entry of a collection."""
    return {
        "adult": False,
        "backdrop_path": make_image_path("collection backdrop", record.id),
        "id": record.id,
        "name": record.name,
        "original_language": store.parts[record.id][0].language,
        "original_name": record.name,
        "overview": f"A series of {len(store.parts[record.id])} films.",
        "poster_path": make_image_path("collection poster", record.id),
    }


def render_organisation(record: Organisation) -> JSONObject:
    """Return the entry of a company or network in a list or in another record."""
    return {
        "id": record.id,
        "logo_path": make_logo_path(record.id),
        "name": record.name,
        "origin_country": record.origin_country,
    }


def _is_original_language(record: Movie | Show, language: str) -> bool:
    return language[:2].lower() == record.language
