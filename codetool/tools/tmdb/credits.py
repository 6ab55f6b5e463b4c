"""Who worked on what: casts and crews of films and shows, and the films of a person."""

from __future__ import annotations

from codetool.tools.tmdb import items
from codetool.tools.tmdb.items import JSONObject
from codetool.tools.tmdb.made import credit_id
from codetool.tools.tmdb.records import Movie, Person, Show
from codetool.tools.tmdb.store import Store

DEPARTMENTS = {"Director": "Directing", "Writer": "Writing"}


def of_movie(store: Store, record: Movie) -> JSONObject:
    """A film's cast and crew; `cast_id` counts within the film."""
    cast = [member | {"cast_id": member["order"] + 1} for member in _cast(store, "movie", record)]
    return {"id": record.id, "cast": cast, "crew": _crew(store, "movie", record)}


def of_show(store: Store, record: Show) -> JSONObject:
    """A series' cast and crew."""
    return {"id": record.id, "cast": _cast(store, "tv", record), "crew": _crew(store, "tv", record)}


def of_person(store: Store, record: Person) -> JSONObject:
    """A person's films, most popular first: roles in `cast`, one entry for each job in `crew`."""
    movies = store.movies_of.get(record.name, ())
    return {
        "id": record.id,
        "cast": [_role(store, movie, record) for movie in movies if record.name in movie.cast],
        "crew": [
            items.movie(store, movie) | _job("movie", movie.id, record.id, job)
            for movie in movies
            for job, names in movie.crew.items()
            if record.name in names
        ],
    }


def _cast(store: Store, kind: str, record: Movie | Show) -> list[JSONObject]:
    return [
        items.person(store.person[name])
        | {
            "character": character,
            "credit_id": credit_id(kind, record.id, store.person[name].id, "cast"),
            "order": order,
        }
        for order, (name, character) in enumerate(record.cast.items())
    ]


def _crew(store: Store, kind: str, record: Movie | Show) -> list[JSONObject]:
    return [
        items.person(store.person[name]) | _job(kind, record.id, store.person[name].id, job)
        for job, names in record.crew.items()
        for name in names
    ]


def _job(kind: str, number: int, person: int, job: str) -> JSONObject:
    return {"credit_id": credit_id(kind, number, person, job), "department": DEPARTMENTS[job], "job": job}


def _role(store: Store, movie: Movie, person: Person) -> JSONObject:
    return items.movie(store, movie) | {
        "character": movie.cast[person.name],
        "credit_id": credit_id("movie", movie.id, person.id, "cast"),
        "order": list(movie.cast).index(person.name),
    }
