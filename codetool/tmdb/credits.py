"""Render casts and crews of films and shows, and the film credits of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codetool.tmdb import list_items
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Movie, Person, Show
from codetool.tmdb.store import Store
from codetool.tmdb.synthetic import make_credit_id

DEPARTMENTS = {
    "Director": "Directing",
    "Writer": "Writing",
    "Screenplay": "Writing",
    "Story": "Writing",
    "Novel": "Writing",
    "Characters": "Writing",
    "Teleplay": "Writing",
    "Creator": "Creator",
    "Producer": "Production",
    "Executive Producer": "Production",
    "Casting": "Production",
    "Director of Photography": "Camera",
    "Editor": "Editing",
    "Original Music Composer": "Sound",
    "Production Design": "Art",
    "Costume Design": "Costume & Make-Up",
}
"""Department of each job; all other jobs belong to the department `Crew`."""


def render_movie_credits(store: Store, record: Movie) -> JSONObject:
    """Return the cast and crew of a film; `cast_id` numbers the cast from 1."""
    cast = [member | {"cast_id": member["order"] + 1} for member in _render_cast(store, "movie", record)]
    return {"id": record.id, "cast": cast, "crew": render_crew(store, record, record.crew)}


def render_show_credits(store: Store, record: Show) -> JSONObject:
    """Return the cast and crew of a show."""
    return {"id": record.id, "cast": _render_cast(store, "tv", record), "crew": render_crew(store, record, record.crew)}


def render_person_credits(store: Store, record: Person, language: str = "") -> JSONObject:
    """Return the films of a person, most popular first: roles in `cast`, and one entry per job in `crew`."""
    movies = store.movies_of.get(record.name, ())
    return {
        "id": record.id,
        "cast": [_render_role(store, movie, record, language) for movie in movies if record.name in movie.cast],
        "crew": [
            list_items.render_movie(store, movie, language) | render_job("movie", movie.id, record.id, title)
            for movie in movies
            for title, names in movie.crew.items()
            if record.name in names
        ],
    }


def render_crew(store: Store, record: Movie | Show, crew: Mapping[str, Sequence[str]]) -> list[JSONObject]:
    """Return a crew grouped by job, with one entry per person and job."""
    kind = "movie" if isinstance(record, Movie) else "tv"
    return [
        list_items.render_person(store.person[name]) | render_job(kind, record.id, store.person[name].id, title)
        for title, names in crew.items()
        for name in names
    ]


def render_job(kind: str, number: int, person: int, title: str) -> JSONObject:
    """Return the fields that a job adds to the entry of a person or a work. The credit id is the same in both."""
    return {
        "credit_id": make_credit_id(kind, number, person, title),
        "department": DEPARTMENTS.get(title, "Crew"),
        "job": title,
    }


def _render_cast(store: Store, kind: str, record: Movie | Show) -> list[JSONObject]:
    return [
        list_items.render_person(store.person[name])
        | {
            "character": character,
            "credit_id": make_credit_id(kind, record.id, store.person[name].id, "cast"),
            "order": order,
        }
        for order, (name, character) in enumerate(record.cast.items())
    ]


def _render_role(store: Store, movie: Movie, person: Person, language: str) -> JSONObject:
    return list_items.render_movie(store, movie, language) | {
        "character": movie.cast[person.name],
        "credit_id": make_credit_id("movie", movie.id, person.id, "cast"),
        "order": list(movie.cast).index(person.name),
    }
