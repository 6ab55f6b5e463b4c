"""The subjects of queries, such as films, people or positions in a list, and the split of each.

A hash of its key assigns each subject to one split, so no subject of train occurs in dev or test.
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
from codetool.benchmarks.task_generator.replica_session import fetch_json
from codetool.tmdb.search_index import split_words
from codetool.tmdb.store import Store

Split = Literal["train", "dev", "test"]
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
LIST_POSITIONS = 20
LANGUAGES = {"fr": "French", "ja": "Japanese", "ko": "Korean", "es": "Spanish", "it": "Italian", "de": "German"}


@dataclass(frozen=True)
class Subject:
    """One subject: the key that decides its split, and the values that fill the wording and the code."""

    key: str
    values: Mapping[str, str]


def assign_split(key: str) -> Split:
    """Return the split of a key: train for 50 % of all keys, dev for 15 %, test for the others."""
    share = int.from_bytes(sha256(f"tmdb_verified {key}".encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.5 else "dev" if share < 0.65 else "test"


def format_ordinal(number: int) -> str:
    """Return the ordinal of a number: a word up to 12 (`first`), above that digits (`13th`)."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def quote(value: object) -> str:
    """Return the value as a literal for code."""
    return json.dumps(value, ensure_ascii=False)


def _make_subject(kind: str, number: int, name: str, **values: str) -> Subject:
    common = {"id": str(number), "title": name, "bare": name, "subject": name, "query": quote(name)}
    return Subject(f"{kind} {number}", common | values)


def _list_movies(store: Store) -> Iterator[Subject]:
    name_counts = Counter(split_words(movie.title) for movie in store.movies.values())
    for movie in store.movies.values():
        if name_counts[split_words(movie.title)] == 1:
            yield _make_subject("movie", movie.id, movie.title)


def _list_dated_movies(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        yield _make_subject("movie", movie.id, movie.title, year=movie.release_date[:4])


def _list_shows(store: Store) -> Iterator[Subject]:
    name_counts = Counter(split_words(show.name) for show in store.shows.values())
    for show in store.shows.values():
        if name_counts[split_words(show.name)] == 1:
            yield _make_subject("show", show.id, show.name)


def _list_people(store: Store) -> Iterator[Subject]:
    for person in store.people.values():
        yield _make_subject("person", person.id, person.name)


def _list_collections(store: Store) -> Iterator[Subject]:
    for collection in store.collections.values():
        series = re.sub("^The | Collection$", "", collection.name)
        yield _make_subject("collection", collection.id, collection.name, series=series, query=quote(series))


def _list_companies(store: Store) -> Iterator[Subject]:
    for company in store.companies.values():
        yield _make_subject("company", company.id, company.name)


def _list_positions(store: Store) -> Iterator[Subject]:
    for position in range(1, LIST_POSITIONS + 1):
        values = {"place": str(position), "index": str(position - 1), "nth": format_ordinal(position)}
        yield Subject(f"place {position}", values)


def _list_genre_years(store: Store) -> Iterator[Subject]:
    counts = Counter((genre, movie.release_date[:4]) for movie in store.movies.values() for genre in movie.genres)
    for (genre, year), count in sorted(counts.items()):
        if count > 1:
            values = {"genre": genre.lower(), "genre_text": quote(genre), "year": year}
            yield Subject(f"genre {genre} {year}", values)


def _list_languages(store: Store) -> Iterator[Subject]:
    for code, language in LANGUAGES.items():
        yield Subject(f"language {code}", {"language": language, "code": quote(code)})


def _list_show_years(store: Store) -> Iterator[Subject]:
    for year, count in sorted(Counter(show.first_air_date[:4] for show in store.shows.values()).items()):
        if count > 1:
            yield Subject(f"show year {year}", {"year": year})


def _list_seasons(store: Store) -> Iterator[Subject]:
    """Yield the seasons that have begun by the replica's date, of series with a unique name; no anthologies."""
    unambiguous = {subject.values["id"] for subject in _list_shows(store)}
    for show in store.shows.values():
        for number, season in enumerate(show.seasons, start=1):
            if str(show.id) in unambiguous and "anthology" not in show.keywords and season.air_date <= TODAY:
                yield _make_subject("show", show.id, show.name, season=str(number), nth=format_ordinal(number))


def _list_episodes(store: Store) -> Iterator[Subject]:
    unambiguous = {subject.values["id"] for subject in _list_shows(store)}
    for episode in store.episodes.values():
        show = store.shows[episode.show]
        season, number = str(episode.season), str(episode.number)
        if str(show.id) in unambiguous and episode.air_date <= TODAY:
            yield _make_subject(
                "show", show.id, show.name,
                season=season, nth=format_ordinal(episode.season),
                episode=number, episode_nth=format_ordinal(episode.number),
            )  # fmt: skip


def _list_reviews(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        for review in fetch_json(f"/movie/{movie.id}/reviews")["results"][:1]:
            yield Subject(f"movie {movie.id}", {"review": review["id"]})


def _list_credits(store: Store) -> Iterator[Subject]:
    for movie in store.movies.values():
        credits = fetch_json(f"/movie/{movie.id}/credits")
        for credit in [*credits["cast"][:1], *credits["crew"][:1]]:
            yield Subject(f"movie {movie.id}", {"credit": credit["credit_id"]})


def _make_genre_lister(kind: str) -> Callable[[Store], Iterator[Subject]]:
    def subjects(store: Store) -> Iterator[Subject]:
        for of, name in store.genres:
            if of == kind:
                yield Subject(f"{kind} genre {name}", {"genre": name, "genre_text": quote(name)})

    return subjects


SUBJECTS: Mapping[str, Callable[[Store], Iterator[Subject]]] = {
    "movie": _list_movies,
    "dated_movie": _list_dated_movies,
    "show": _list_shows,
    "person": _list_people,
    "collection": _list_collections,
    "company": _list_companies,
    "place": _list_positions,
    "genre_year": _list_genre_years,
    "language": _list_languages,
    "show_year": _list_show_years,
    "season": _list_seasons,
    "episode": _list_episodes,
    "review": _list_reviews,
    "credit": _list_credits,
    "movie_genre": _make_genre_lister("movie"),
    "show_genre": _make_genre_lister("tv"),
}
