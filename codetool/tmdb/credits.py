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
"""Job to department; a job that is not listed belongs to TMDB's `Crew`."""


def render_movie_credits(store: Store, record: Movie) -> JSONObject:
    """A film's cast and crew; `cast_id` counts within the film."""
    cast = [member | {"cast_id": member["order"] + 1} for member in _render_cast(store, "movie", record)]
    return {"id": record.id, "cast": cast, "crew": render_crew(store, record, record.crew)}


def render_show_credits(store: Store, record: Show) -> JSONObject:
    """A series' cast and crew."""
    return {"id": record.id, "cast": _render_cast(store, "tv", record), "crew": render_crew(store, record, record.crew)}


def render_person_credits(store: Store, record: Person, language: str = "") -> JSONObject:
    """A person's films, most popular first: roles in `cast`, one entry for each job in `crew`."""
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
    """A crew, job by job; one entry for each job of a person."""
    kind = "movie" if isinstance(record, Movie) else "tv"
    return [
        list_items.render_person(store.person[name]) | render_job(kind, record.id, store.person[name].id, title)
        for title, names in crew.items()
        for name in names
    ]


def render_job(kind: str, number: int, person: int, title: str) -> JSONObject:
    """What a job adds to a person or to a work: the same credit id wherever the job is listed."""
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
