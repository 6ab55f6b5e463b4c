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
    language = request.query_params.get("language", "")  # accepted, but not in the document, as in all routes
    movies = _find_movies(here, filters.model_copy(update={"page": 1}))
    return paged(
        movies, filters.page, lambda record: list_items.render_movie(here.store, record, language, filters.region)
    )


@lru_cache(maxsize=1024)  # a catalog never changes
def _find_movies(catalog: Catalog, filters: MovieFilters) -> Sequence[Movie]:
    tests = [
        *_make_id_tests(catalog, filters),
        *_make_number_tests(filters),
        *_make_date_tests(filters),
        *_make_certification_tests(filters),
        *_make_offer_tests(filters),
    ]
    movies = catalog.store.movie_index.records
    for test in tests:
        movies = [record for record in movies if test(record)]
    field, _, direction = filters.sort_by.partition(".")
    return sorted(
        movies, key=_get_sort_key(field, filters.region), reverse=direction == "desc"
    )  # stable: ties stay sorted by popularity


def _get_sort_key(field: str, region: str) -> Callable[[Movie], Any]:
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
    """Ids of a film that filters match, as strings."""

    genres: Ids
    keywords: Ids
    companies: Ids
    cast: Ids
    crew: Ids
    language: Ids


@lru_cache(maxsize=8)
def _index_facets(catalog: Catalog) -> Mapping[int, _Facets]:
    return {number: _extract_facets(catalog.store, record) for number, record in catalog.store.movies.items()}


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


def _make_id_tests(catalog: Catalog, filters: MovieFilters) -> Iterator[Test]:
    facets = _index_facets(catalog)
    by_ids: Sequence[tuple[str, Rule, Callable[[_Facets], Ids]]] = (
        (filters.with_genres, matches_ids, lambda facet: facet.genres),
        (filters.without_genres, excludes_ids, lambda facet: facet.genres),
        (filters.with_keywords, matches_ids, lambda facet: facet.keywords),
        (filters.without_keywords, excludes_ids, lambda facet: facet.keywords),
        (filters.with_companies, matches_ids, lambda facet: facet.companies),
        (filters.without_companies, excludes_ids, lambda facet: facet.companies),
        (filters.with_cast, matches_ids, lambda facet: facet.cast),
        (filters.with_crew, matches_ids, lambda facet: facet.crew),
        (filters.with_people, matches_ids, lambda facet: facet.cast | facet.crew),
        (filters.with_original_language, matches_ids, lambda facet: facet.language),
        (filters.with_release_type, matches_ids, lambda facet: RELEASE_TYPES),
    )
    for expression, rule, ids in by_ids:
        if expression:
            yield _make_id_test(rule, expression, ids, facets)


def _make_id_test(rule: Rule, expression: str, ids: Callable[[_Facets], Ids], facets: Mapping[int, _Facets]) -> Test:
    return lambda record: rule(expression, ids(facets[record.id]))


def _make_number_tests(filters: MovieFilters) -> Iterator[Test]:
    yield from _make_range_tests(lambda record: record.vote_average, filters.vote_average_gte, filters.vote_average_lte)
    yield from _make_range_tests(lambda record: record.vote_count, filters.vote_count_gte, filters.vote_count_lte)
    yield from _make_range_tests(lambda record: record.runtime, filters.with_runtime_gte, filters.with_runtime_lte)


def _make_range_tests(value: Callable[[Movie], float], lowest: float | None, highest: float | None) -> Iterator[Test]:
    if lowest is not None:
        yield lambda record: value(record) >= lowest
    if highest is not None:
        yield lambda record: value(record) <= highest


def _make_date_tests(filters: MovieFilters) -> Iterator[Test]:
    if filters.year is not None:
        yield lambda record: was_released_in(record, str(filters.year), filters.region)
    if filters.release_date_gte or filters.release_date_lte:
        first, last = filters.release_date_gte, filters.release_date_lte or "9999"
        yield lambda record: any(first <= day <= last for day in list_release_days(record, filters.region))
    if filters.primary_release_year is not None:
        yield lambda record: record.release_date[:4] == str(filters.primary_release_year)
    if filters.primary_release_date_gte or filters.primary_release_date_lte:
        start, end = filters.primary_release_date_gte, filters.primary_release_date_lte or "9999"
        yield lambda record: start <= record.release_date <= end


def _make_certification_tests(filters: MovieFilters) -> Iterator[Test]:
    """Yield the tests of certification; none without a country, since certifications are per country."""
    country = filters.certification_country
    if country and filters.certification:
        yield lambda record: matches_ids(filters.certification, {get_certification(record, country)})
    if country and (filters.certification_lte or filters.certification_gte):
        allowed = _list_certifications_between(filters.certification_gte, filters.certification_lte)
        yield lambda record: get_certification(record, country) in allowed


def _list_certifications_between(lowest: str, highest: str) -> Collection[str]:
    """Return the certifications from `lowest` to `highest`; none if one of the two is unknown."""
    order = {name: position for position, name in enumerate(CERTIFICATIONS)}
    if not {lowest, highest} - {""} <= set(order):
        return ()
    return CERTIFICATIONS[order.get(lowest, 0) : order.get(highest, len(order)) + 1]


def _make_offer_tests(filters: MovieFilters) -> Iterator[Test]:
    region = filters.watch_region or "US"
    if filters.with_watch_monetization_types:
        yield lambda record: matches_ids(filters.with_watch_monetization_types, _list_offer_types(record, region))
    if filters.with_watch_providers:
        yield lambda record: matches_ids(filters.with_watch_providers, _find_providers(filters, record, region))


def _list_offer_types(record: Movie, region: str) -> Collection[str]:
    return {offer_type for offer_type, ids in find_offers("movie", record.id, region).items() if ids}


def _find_providers(filters: MovieFilters, record: Movie, region: str) -> Collection[str]:
    """Return the providers of a film in a region, only for the requested monetization types if there are any."""
    offers = find_offers("movie", record.id, region)
    offer_types = re.findall(r"\w+", filters.with_watch_monetization_types) or offers
    return {str(provider) for offer_type in offer_types for provider in offers.get(offer_type, ())}
