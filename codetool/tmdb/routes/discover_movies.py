"""`/discover/movie`: films by any facts about them. Filters that are given must all hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request

from codetool.tmdb import list_items
from codetool.tmdb.catalog_dependency import Catalogue, Here
from codetool.tmdb.id_filters import among, without
from codetool.tmdb.list_items import release
from codetool.tmdb.records import Movie
from codetool.tmdb.releases import CERTIFICATIONS, THEATRICAL, certification, days, released_in
from codetool.tmdb.routes.movie_filters import Filters, MovieFilters
from codetool.tmdb.routes.paging import page as paged
from codetool.tmdb.schemas.list_schemas import MovieItem, Page
from codetool.tmdb.store import Store
from codetool.tmdb.watch_providers import offers

router = APIRouter(prefix="/discover")
Test = Callable[[Movie], bool]
Rule = Callable[[str, Collection[str]], bool]
Ids = frozenset[str]
RELEASE_TYPES = frozenset({str(THEATRICAL)})


@router.get("/movie", response_model=Page[MovieItem], summary="Find films by genre, people, dates, ratings and more")
async def discover_movie(here: Here, request: Request, filters: Filters) -> Any:
    """Films for which every given filter holds, most popular first unless sorted otherwise."""
    language = request.query_params.get("language", "")  # as everywhere, and as everywhere not in the document
    found = _found(here, filters.model_copy(update={"page": 1}))
    return paged(found, filters.page, lambda record: list_items.movie(here.store, record, language, filters.region))


@lru_cache(maxsize=1024)  # a catalogue never changes
def _found(here: Catalogue, asked: MovieFilters) -> Sequence[Movie]:
    tests = [*_facts(here, asked), *_numbers(asked), *_dates(asked), *_certifications(asked), *_offers(asked)]
    found = here.store.movie_index.records
    for test in tests:
        found = [record for record in found if test(record)]
    field, _, direction = asked.sort_by.partition(".")
    return sorted(found, key=_order(field, asked.region), reverse=direction == "desc")  # equals stay by popularity


def _order(field: str, region: str) -> Callable[[Movie], Any]:
    orders: Mapping[str, Callable[[Movie], Any]] = {
        "popularity": lambda record: record.popularity,
        "release_date": lambda record: release(record, region),
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
def _facets(here: Catalogue) -> Mapping[int, _Facets]:
    return {number: _facets_of(here.store, record) for number, record in here.store.movies.items()}


def _facets_of(store: Store, record: Movie) -> _Facets:
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


def _facts(here: Catalogue, asked: MovieFilters) -> Iterator[Test]:
    facets = _facets(here)
    by_ids: Sequence[tuple[str, Rule, Callable[[_Facets], Ids]]] = (
        (asked.with_genres, among, lambda facet: facet.genres),
        (asked.without_genres, without, lambda facet: facet.genres),
        (asked.with_keywords, among, lambda facet: facet.keywords),
        (asked.without_keywords, without, lambda facet: facet.keywords),
        (asked.with_companies, among, lambda facet: facet.companies),
        (asked.without_companies, without, lambda facet: facet.companies),
        (asked.with_cast, among, lambda facet: facet.cast),
        (asked.with_crew, among, lambda facet: facet.crew),
        (asked.with_people, among, lambda facet: facet.cast | facet.crew),
        (asked.with_original_language, among, lambda facet: facet.language),
        (asked.with_release_type, among, lambda facet: RELEASE_TYPES),
    )
    for expression, rule, ids in by_ids:
        if expression:
            yield _by_ids(rule, expression, ids, facets)


def _by_ids(rule: Rule, expression: str, ids: Callable[[_Facets], Ids], facets: Mapping[int, _Facets]) -> Test:
    return lambda record: rule(expression, ids(facets[record.id]))


def _numbers(asked: MovieFilters) -> Iterator[Test]:
    yield from _between(lambda record: record.vote_average, asked.vote_average_gte, asked.vote_average_lte)
    yield from _between(lambda record: record.vote_count, asked.vote_count_gte, asked.vote_count_lte)
    yield from _between(lambda record: record.runtime, asked.with_runtime_gte, asked.with_runtime_lte)


def _between(value: Callable[[Movie], float], least: float | None, most: float | None) -> Iterator[Test]:
    if least is not None:
        yield lambda record: value(record) >= least
    if most is not None:
        yield lambda record: value(record) <= most


def _dates(asked: MovieFilters) -> Iterator[Test]:
    if asked.year is not None:
        yield lambda record: released_in(record, str(asked.year), asked.region)
    if asked.release_date_gte or asked.release_date_lte:
        first, last = asked.release_date_gte, asked.release_date_lte or "9999"
        yield lambda record: any(first <= day <= last for day in days(record, asked.region))
    if asked.primary_release_year is not None:
        yield lambda record: record.release_date[:4] == str(asked.primary_release_year)
    if asked.primary_release_date_gte or asked.primary_release_date_lte:
        start, end = asked.primary_release_date_gte, asked.primary_release_date_lte or "9999"
        yield lambda record: start <= record.release_date <= end


def _certifications(asked: MovieFilters) -> Iterator[Test]:
    """A certification means nothing without its country, so without one it asks nothing."""
    country = asked.certification_country
    if country and asked.certification:
        yield lambda record: among(asked.certification, {certification(record, country)})
    if country and (asked.certification_lte or asked.certification_gte):
        allowed = _certified(asked.certification_gte, asked.certification_lte)
        yield lambda record: certification(record, country) in allowed


def _certified(least: str, most: str) -> Collection[str]:
    """The certifications from `least` to `most`; none where one of the two is unknown."""
    order = {name: place for place, name in enumerate(CERTIFICATIONS)}
    if not {least, most} - {""} <= set(order):
        return ()
    return CERTIFICATIONS[order.get(least, 0) : order.get(most, len(order)) + 1]


def _offers(asked: MovieFilters) -> Iterator[Test]:
    region = asked.watch_region or "US"
    if asked.with_watch_monetization_types:
        yield lambda record: among(asked.with_watch_monetization_types, _ways(record, region))
    if asked.with_watch_providers:
        yield lambda record: among(asked.with_watch_providers, _providers(asked, record, region))


def _ways(record: Movie, region: str) -> Collection[str]:
    return {way for way, ids in offers("movie", record.id, region).items() if ids}


def _providers(asked: MovieFilters, record: Movie, region: str) -> Collection[str]:
    """The providers of the film there, in one of the ways asked for if any is."""
    found = offers("movie", record.id, region)
    ways = re.findall(r"\w+", asked.with_watch_monetization_types) or found
    return {str(provider) for way in ways for provider in found.get(way, ())}
