"""Films or shows that go with another: `similar` by subject, `recommended` by who made it and who is in it.

Both are deterministic, list only what was out by the catalogue's day, and never the film or show itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Kind, Movie, Show

Work = TypeVar("Work", Movie, Show)
Either = Movie | Show
COLLECTION, MAKER, ACTOR, GENRE = 6, 3, 2, 1
"""Weights of what two works share, for recommendations; a keyword weighs as much as two genres in `similar`."""


def find_similar(here: Catalog, record: Work) -> Sequence[Work]:
    """Works of the same kind that share keywords or genres, the closest first; popularity decides between equals."""
    return cast("Sequence[Work]", _rank(here, _kind_of(record), record.id, _subject_similarity))


def find_recommended(here: Catalog, record: Work) -> Sequence[Work]:
    """Works of the same kind that share a collection, makers, actors or genres, the closest first."""
    return cast("Sequence[Work]", _rank(here, _kind_of(record), record.id, _maker_similarity))


@dataclass(frozen=True, slots=True)
class _Traits:
    """What a work may share with another, as sets."""

    record: Either
    keywords: frozenset[str]
    genres: frozenset[str]
    series: frozenset[int]
    makers: frozenset[str]
    cast: frozenset[str]


@lru_cache(maxsize=4096)  # a catalogue never changes
def _rank(here: Catalog, kind: Kind, number: int, closeness: Callable[[_Traits, _Traits], float]) -> Sequence[Either]:
    works, today = _traits_by_id(here, kind), here.as_of.isoformat()
    one = works[number]
    scored = [
        (score, other.record)
        for other in works.values()
        if other is not one and _premiere_day(other.record) <= today and (score := closeness(one, other)) > 0
    ]
    scored.sort(key=lambda pair: (-pair[0], -pair[1].popularity, pair[1].id))
    return tuple(record for _, record in scored)


@lru_cache(maxsize=8)
def _traits_by_id(here: Catalog, kind: Kind) -> Mapping[int, _Traits]:
    works: Mapping[int, Either] = here.store.movies if kind == "movie" else here.store.shows
    return {number: _extract_traits(record) for number, record in works.items()}


def _extract_traits(record: Either) -> _Traits:
    makers = list(record.crew.get("Director", ()))
    series = frozenset[int]()
    if isinstance(record, Show):
        makers += record.created_by
    elif record.collection is not None:
        series = frozenset({record.collection})
    keywords, genres = frozenset(record.keywords), frozenset(record.genres)
    return _Traits(record, keywords, genres, series, frozenset(makers), frozenset(record.cast))


def _subject_similarity(one: _Traits, other: _Traits) -> float:
    """Shared keywords and genres, against what the two have together."""
    keywords, genres = len(one.keywords & other.keywords), len(one.genres & other.genres)
    shared = 2 * keywords + genres
    either = 2 * (len(one.keywords) + len(other.keywords) - keywords) + len(one.genres) + len(other.genres) - genres
    return shared / (either or 1)


def _maker_similarity(one: _Traits, other: _Traits) -> float:
    """What the two share of collection, makers, cast and genres, weighed."""
    return (
        COLLECTION * len(one.series & other.series)
        + MAKER * len(one.makers & other.makers)
        + ACTOR * len(one.cast & other.cast)
        + GENRE * len(one.genres & other.genres)
    )


def _kind_of(record: Either) -> Kind:
    return "movie" if isinstance(record, Movie) else "tv"


def _premiere_day(record: Either) -> str:
    return record.release_date if isinstance(record, Movie) else record.first_air_date
