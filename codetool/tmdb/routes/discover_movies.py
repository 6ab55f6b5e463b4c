"""`/discover/movie`: films by any facts about them. Filters that are given must all hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request

from codetool.tmdb import list_items
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep
from codetool.tmdb.id_filters import excludes_ids, matches_ids
from codetool.tmdb.list_items import get_release_day
from codetool.tmdb.records import Movie
from codetool.tmdb.releases import CERTIFICATIONS, THEATRICAL, get_certification, list_release_days, was_released_in
from codetool.tmdb.routes.movie_filters import Filters, MovieFilters
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.schemas.list_schemas import MovieItem, Page
from codetool.tmdb.store import Store
from codetool.tmdb.watch_providers import find_offers

router = APIRouter(prefix="/discover")
Test = Callable[[Movie], bool]
Rule = Callable[[str, Collection[str]], bool]
Ids = frozenset[str]
RELEASE_TYPES = frozenset({str(THEATRICAL)})


@router.get("/movie", response_model=Page[MovieItem], summary="Find films by genre, people, dates, ratings and more")
async def discover_movie(here: CatalogDep, request: Request, filters: Filters) -> Any:
    """Films for which every given filter holds, most popular first unless sorted otherwise."""
    language = request.query_params.get("language", "")  # as everywhere, and as everywhere not in the document
    found = _find_movies(here, filters.model_copy(update={"page": 1}))
    return paged(
        found, filters.page, lambda record: list_items.render_movie(here.store, record, language, filters.region)
    )


@lru_cache(maxsize=1024)  # a catalogue never changes
def _find_movies(here: Catalog, asked: MovieFilters) -> Sequence[Movie]:
    tests = [
        *_make_id_tests(here, asked),
        *_make_number_tests(asked),
        *_make_date_tests(asked),
        *_make_certification_tests(asked),
        *_make_offer_tests(asked),
    ]
    found = here.store.movie_index.records
    for test in tests:
        found = [record for record in found if test(record)]
    field, _, direction = asked.sort_by.partition(".")
    return sorted(found, key=_sort_key(field, asked.region), reverse=direction == "desc")  # equals stay by popularity


def _sort_key(field: str, region: str) -> Callable[[Movie], Any]:
    orders: Mapping[str, Callable[[Movie], Any]] = {
        "popularity": lambda record: record.popularity,
        "release_date": lambda record: get_release_day(record, region),
        "primary_release_date": lambda record: record.release_date,
        "revenue": lambda record: record.revenue,
        "original_title": lambda record: (record.original_title or record.title).casefold(),
        "vote_average": lambda record: record.vote_average,
        "vote_count": lambda record: record.vote_count,
    }
    return orders[field]


@dataclass(frozen=True, slots=True)
class _Facets:
    """The ids that a film can be found by, as they stand in a query."""

    genres: Ids
    keywords: Ids
    companies: Ids
    cast: Ids
    crew: Ids
    language: Ids


@lru_cache(maxsize=8)
def _facets_by_id(here: Catalog) -> Mapping[int, _Facets]:
    return {number: _extract_facets(here.store, record) for number, record in here.store.movies.items()}


def _extract_facets(store: Store, record: Movie) -> _Facets:
    def ids(names: Collection[str], of: Callable[[str], int]) -> Ids:
        return frozenset(str(of(name)) for name in names)

    crew = [name for names in record.crew.values() for name in names]
    return _Facets(
        genres=ids(record.genres, lambda name: store.genres["movie", name]),
        keywords=ids(record.keywords, lambda name: store.keywords[name]),
        companies=ids(record.companies, lambda name: store.company[name].id),
        cast=ids(record.cast, lambda name: store.person[name].id),
        crew=ids(crew, lambda name: store.person[name].id),
        language=frozenset({record.language}),
    )


def _make_id_tests(here: Catalog, asked: MovieFilters) -> Iterator[Test]:
    facets = _facets_by_id(here)
    by_ids: Sequence[tuple[str, Rule, Callable[[_Facets], Ids]]] = (
        (asked.with_genres, matches_ids, lambda facet: facet.genres),
        (asked.without_genres, excludes_ids, lambda facet: facet.genres),
        (asked.with_keywords, matches_ids, lambda facet: facet.keywords),
        (asked.without_keywords, excludes_ids, lambda facet: facet.keywords),
        (asked.with_companies, matches_ids, lambda facet: facet.companies),
        (asked.without_companies, excludes_ids, lambda facet: facet.companies),
        (asked.with_cast, matches_ids, lambda facet: facet.cast),
        (asked.with_crew, matches_ids, lambda facet: facet.crew),
        (asked.with_people, matches_ids, lambda facet: facet.cast | facet.crew),
        (asked.with_original_language, matches_ids, lambda facet: facet.language),
        (asked.with_release_type, matches_ids, lambda facet: RELEASE_TYPES),
    )
    for expression, rule, ids in by_ids:
        if expression:
            yield _make_id_test(rule, expression, ids, facets)


def _make_id_test(rule: Rule, expression: str, ids: Callable[[_Facets], Ids], facets: Mapping[int, _Facets]) -> Test:
    return lambda record: rule(expression, ids(facets[record.id]))


def _make_number_tests(asked: MovieFilters) -> Iterator[Test]:
    yield from _make_range_tests(lambda record: record.vote_average, asked.vote_average_gte, asked.vote_average_lte)
    yield from _make_range_tests(lambda record: record.vote_count, asked.vote_count_gte, asked.vote_count_lte)
    yield from _make_range_tests(lambda record: record.runtime, asked.with_runtime_gte, asked.with_runtime_lte)


def _make_range_tests(value: Callable[[Movie], float], least: float | None, most: float | None) -> Iterator[Test]:
    if least is not None:
        yield lambda record: value(record) >= least
    if most is not None:
        yield lambda record: value(record) <= most


def _make_date_tests(asked: MovieFilters) -> Iterator[Test]:
    if asked.year is not None:
        yield lambda record: was_released_in(record, str(asked.year), asked.region)
    if asked.release_date_gte or asked.release_date_lte:
        first, last = asked.release_date_gte, asked.release_date_lte or "9999"
        yield lambda record: any(first <= day <= last for day in list_release_days(record, asked.region))
    if asked.primary_release_year is not None:
        yield lambda record: record.release_date[:4] == str(asked.primary_release_year)
    if asked.primary_release_date_gte or asked.primary_release_date_lte:
        start, end = asked.primary_release_date_gte, asked.primary_release_date_lte or "9999"
        yield lambda record: start <= record.release_date <= end


def _make_certification_tests(asked: MovieFilters) -> Iterator[Test]:
    """A certification means nothing without its country, so without one it asks nothing."""
    country = asked.certification_country
    if country and asked.certification:
        yield lambda record: matches_ids(asked.certification, {get_certification(record, country)})
    if country and (asked.certification_lte or asked.certification_gte):
        allowed = _certifications_between(asked.certification_gte, asked.certification_lte)
        yield lambda record: get_certification(record, country) in allowed


def _certifications_between(least: str, most: str) -> Collection[str]:
    """The certifications from `least` to `most`; none where one of the two is unknown."""
    order = {name: place for place, name in enumerate(CERTIFICATIONS)}
    if not {least, most} - {""} <= set(order):
        return ()
    return CERTIFICATIONS[order.get(least, 0) : order.get(most, len(order)) + 1]


def _make_offer_tests(asked: MovieFilters) -> Iterator[Test]:
    region = asked.watch_region or "US"
    if asked.with_watch_monetization_types:
        yield lambda record: matches_ids(asked.with_watch_monetization_types, _offer_types(record, region))
    if asked.with_watch_providers:
        yield lambda record: matches_ids(asked.with_watch_providers, _find_providers(asked, record, region))


def _offer_types(record: Movie, region: str) -> Collection[str]:
    return {way for way, ids in find_offers("movie", record.id, region).items() if ids}


def _find_providers(asked: MovieFilters, record: Movie, region: str) -> Collection[str]:
    """The providers of the film there, in one of the ways asked for if any is."""
    found = find_offers("movie", record.id, region)
    ways = re.findall(r"\w+", asked.with_watch_monetization_types) or found
    return {str(provider) for way in ways for provider in found.get(way, ())}
