"""What queries are about, and which split each subject belongs to.

A subject is what the query names: a film, a series, a person, a place in a list. Every one belongs to one split, by a
hash of its key, so no subject of train is met in dev or test.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from codetool.benchmarks.task_generator.grammar import TODAY
from codetool.benchmarks.task_generator.replica_session import ask
from codetool.tmdb.search_index import words
from codetool.tmdb.store import Store

Split = Literal["train", "dev", "test"]
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
PLACES = 20
LANGUAGES = {"fr": "French", "ja": "Japanese", "ko": "Korean", "es": "Spanish", "it": "Italian", "de": "German"}


@dataclass(frozen=True)
class Subject:
    """One subject: the key that decides its split, and the values that words and code are filled with."""

    key: str
    values: Mapping[str, str]


def split_of(key: str) -> Split:
    """The split of a key: half of all keys train, 15 % dev, the rest test."""
    share = int.from_bytes(sha256(f"tmdb_verified {key}".encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.5 else "dev" if share < 0.65 else "test"


def ordinal(number: int) -> str:
    """`first` for 1; above twelve `13th`."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def quoted(value: object) -> str:
    """The value as it stands in code."""
    return json.dumps(value, ensure_ascii=False)


def _named(kind: str, number: int, name: str, **values: str) -> Subject:
    known = {"id": str(number), "title": name, "bare": name, "subject": name, "query": quoted(name)}
    return Subject(f"{kind} {number}", known | values)


def _movies(store: Store) -> Iterator[Subject]:
    alike = Counter(words(movie.title) for movie in store.movies.values())
    for movie in store.movies.values():
        if alike[words(movie.title)] == 1:
            yield _named("movie", movie.id, movie.title)


def _dated_movies(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        yield _named("movie", movie.id, movie.title, year=movie.release_date[:4])


def _shows(store: Store) -> Iterator[Subject]:
    alike = Counter(words(show.name) for show in store.shows.values())
    for show in store.shows.values():
        if alike[words(show.name)] == 1:
            yield _named("show", show.id, show.name)


def _people(store: Store) -> Iterator[Subject]:
    for person in store.people.values():
        yield _named("person", person.id, person.name)


def _collections(store: Store) -> Iterator[Subject]:
    for collection in store.collections.values():
        series = re.sub("^The | Collection$", "", collection.name)
        yield _named("collection", collection.id, collection.name, series=series, query=quoted(series))


def _companies(store: Store) -> Iterator[Subject]:
    for company in store.companies.values():
        yield _named("company", company.id, company.name)


def _places(store: Store) -> Iterator[Subject]:
    for place in range(1, PLACES + 1):
        values = {"place": str(place), "index": str(place - 1), "nth": ordinal(place)}
        yield Subject(f"place {place}", values)


def _genre_years(store: Store) -> Iterator[Subject]:
    counts = Counter((genre, movie.release_date[:4]) for movie in store.movies.values() for genre in movie.genres)
    for (genre, year), count in sorted(counts.items()):
        if count > 1:
            values = {"genre": genre.lower(), "genre_text": quoted(genre), "year": year}
            yield Subject(f"genre {genre} {year}", values)


def _languages(store: Store) -> Iterator[Subject]:
    for code, language in LANGUAGES.items():
        yield Subject(f"language {code}", {"language": language, "code": quoted(code)})


def _show_years(store: Store) -> Iterator[Subject]:
    for year, count in sorted(Counter(show.first_air_date[:4] for show in store.shows.values()).items()):
        if count > 1:
            yield Subject(f"show year {year}", {"year": year})


def _seasons(store: Store) -> Iterator[Subject]:
    """Seasons of series that have one name and one cast, begun by the replica's day."""
    single = {subject.values["id"] for subject in _shows(store)}
    for show in store.shows.values():
        for number, season in enumerate(show.seasons, start=1):
            if str(show.id) in single and "anthology" not in show.keywords and season.air_date <= TODAY:
                yield _named("show", show.id, show.name, season=str(number), nth=ordinal(number))


def _episodes(store: Store) -> Iterator[Subject]:
    single = {subject.values["id"] for subject in _shows(store)}
    for episode in store.episodes.values():
        show = store.shows[episode.show]
        season, number = str(episode.season), str(episode.number)
        if str(show.id) in single and episode.air_date <= TODAY:
            yield _named(
                "show", show.id, show.name,
                season=season, nth=ordinal(episode.season), episode=number, episode_nth=ordinal(episode.number),
            )  # fmt: skip


def _reviews(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        for review in ask(f"/movie/{movie.id}/reviews")["results"][:1]:
            yield Subject(f"movie {movie.id}", {"review": review["id"]})


def _credits(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        found = ask(f"/movie/{movie.id}/credits")
        for credit in [*found["cast"][:1], *found["crew"][:1]]:
            yield Subject(f"movie {movie.id}", {"credit": credit["credit_id"]})


def _genres(kind: str) -> Callable[[Store], Iterator[Subject]]:
    def subjects(store: Store) -> Iterator[Subject]:
        for of, name in store.genres:
            if of == kind:
                yield Subject(f"{kind} genre {name}", {"genre": name, "genre_text": quoted(name)})

    return subjects


SUBJECTS: Mapping[str, Callable[[Store], Iterator[Subject]]] = {
    "movie": _movies,
    "dated_movie": _dated_movies,
    "show": _shows,
    "person": _people,
    "collection": _collections,
    "company": _companies,
    "place": _places,
    "genre_year": _genre_years,
    "language": _languages,
    "show_year": _show_years,
    "season": _seasons,
    "episode": _episodes,
    "review": _reviews,
    "credit": _credits,
    "movie_genre": _genres("movie"),
    "show_genre": _genres("tv"),
}
