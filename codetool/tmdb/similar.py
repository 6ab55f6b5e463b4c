"""Rank similar films or shows: `similar` by keywords and genres, `recommended` by makers, actors and collection.

Both rankings are deterministic, contain only works released by the catalog's date, and never the work itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Kind, Movie, Show

Work = TypeVar("Work", Movie, Show)
AnyWork = Movie | Show
COLLECTION_WEIGHT, MAKER_WEIGHT, ACTOR_WEIGHT, GENRE_WEIGHT = 6, 3, 2, 1
"""Weights of shared attributes in `find_recommended`. In `find_similar` a keyword counts as much as two genres."""


def find_similar(catalog: Catalog, record: Work) -> Sequence[Work]:
    """Return the works of the same kind that share keywords or genres, most similar first, then by popularity."""
    return cast("Sequence[Work]", _rank(catalog, _get_kind(record), record.id, _compute_subject_similarity))


def find_recommended(catalog: Catalog, record: Work) -> Sequence[Work]:
    """Return the works of the same kind that share a collection, makers, actors or genres, most similar first."""
    return cast("Sequence[Work]", _rank(catalog, _get_kind(record), record.id, _compute_maker_similarity))


@dataclass(frozen=True, slots=True)
class _Traits:
    """Attributes of a work that it can share with other works."""

    record: AnyWork
    keywords: frozenset[str]
    genres: frozenset[str]
    series: frozenset[int]
    makers: frozenset[str]
    cast: frozenset[str]


@lru_cache(maxsize=4096)  # a catalog never changes
def _rank(
    catalog: Catalog, kind: Kind, record_id: int, similarity: Callable[[_Traits, _Traits], float]
) -> Sequence[AnyWork]:
    works, today = _index_traits(catalog, kind), catalog.as_of.isoformat()
    reference = works[record_id]
    scored = [
        (score, other.record)
        for other in works.values()
        if other is not reference
        and _get_premiere_day(other.record) <= today
        and (score := similarity(reference, other)) > 0
    ]
    scored.sort(key=lambda pair: (-pair[0], -pair[1].popularity, pair[1].id))
    return tuple(record for _, record in scored)


@lru_cache(maxsize=8)
def _index_traits(catalog: Catalog, kind: Kind) -> Mapping[int, _Traits]:
    works: Mapping[int, AnyWork] = catalog.store.movies if kind == "movie" else catalog.store.shows
    return {record_id: _extract_traits(record) for record_id, record in works.items()}


def _extract_traits(record: AnyWork) -> _Traits:
    makers = list(record.crew.get("Director", ()))
    series = frozenset[int]()
    if isinstance(record, Show):
        makers += record.created_by
    elif record.collection is not None:
        series = frozenset({record.collection})
    keywords, genres = frozenset(record.keywords), frozenset(record.genres)
    return _Traits(record, keywords, genres, series, frozenset(makers), frozenset(record.cast))


def _compute_subject_similarity(one: _Traits, other: _Traits) -> float:
    """Return the weighted Jaccard index of the keywords and genres of two works."""
    keywords, genres = len(one.keywords & other.keywords), len(one.genres & other.genres)
    shared = 2 * keywords + genres
    total = 2 * (len(one.keywords) + len(other.keywords) - keywords) + len(one.genres) + len(other.genres) - genres
    return shared / (total or 1)


def _compute_maker_similarity(one: _Traits, other: _Traits) -> float:
    """Return the weighted number of shared collections, makers, actors and genres."""
    return (
        COLLECTION_WEIGHT * len(one.series & other.series)
        + MAKER_WEIGHT * len(one.makers & other.makers)
        + ACTOR_WEIGHT * len(one.cast & other.cast)
        + GENRE_WEIGHT * len(one.genres & other.genres)
    )


def _get_kind(record: AnyWork) -> Kind:
    return "movie" if isinstance(record, Movie) else "tv"


def _get_premiere_day(record: AnyWork) -> str:
    return record.release_date if isinstance(record, Movie) else record.first_air_date
