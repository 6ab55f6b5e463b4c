"""`/discover/tv`: shows by any facts about them. Filters that are given must all hold.

Two filters meet what the replica does not know: no show here is on record as screened in cinemas, and every show has a
first air date. Days are those of the show's own calendar, whatever `timezone` says. Where a show can be watched is
synthetic.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request

from codetool.tmdb import list_items
from codetool.tmdb.air_dates import airs_between
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep
from codetool.tmdb.id_filters import excludes_ids, matches_ids
from codetool.tmdb.records import Show
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.show_filters import Filters, ShowFilters
from codetool.tmdb.schemas.list_schemas import Page, ShowItem
from codetool.tmdb.store import Store
from codetool.tmdb.watch_providers import find_offers

router = APIRouter(prefix="/discover")
STATUSES = ("Returning Series", "Planned", "In Production", "Ended", "Canceled", "Pilot")
"""In the order of the API's codes, from 0."""
TYPES = ("Documentary", "News", "Miniseries", "Reality", "Scripted", "Talk Show", "Video")
"""In the order of the API's codes, from 0."""
ORDERS: Mapping[str, Callable[[Show], str | float]] = {
    "popularity": lambda show: show.popularity,
    "first_air_date": lambda show: show.first_air_date,
    "vote_average": lambda show: show.vote_average,
}
Test = Callable[[Show], bool]
Values = frozenset[str]
Rule = Callable[[str, Collection[str]], bool]


@router.get("/tv", response_model=Page[ShowItem], summary="Find TV shows by genre, network, dates, ratings and more")
async def discover_tv(here: CatalogDep, request: Request, filters: Filters) -> Any:
    """Shows for which every given filter holds, most popular first unless sorted otherwise."""
    language = request.query_params.get("language", "")  # accepted, but not in the document, as in all routes
    shows = _find_shows(here, filters.model_copy(update={"page": 1}))
    return paged(shows, filters.page, lambda record: list_items.render_show(here.store, record, language))


@lru_cache(maxsize=1024)  # a catalog never changes
def _find_shows(catalog: Catalog, filters: ShowFilters) -> Sequence[Show]:
    """Return the shows that pass all filters, sorted; ties are sorted by popularity."""
    tests = [*_make_facet_tests(catalog, filters), *_make_date_tests(catalog, filters), *_make_offer_tests(filters)]
    shows = [record for record in catalog.store.show_index.records if all(test(record) for test in tests)]
    order, _, direction = filters.sort_by.partition(".")
    return sorted(shows, key=ORDERS[order], reverse=direction == "desc")


@dataclass(frozen=True, slots=True)
class _Facets:
    """Ids and codes of a show that filters match, as strings."""

    genres: Values
    keywords: Values
    networks: Values
    companies: Values
    language: Values
    status: Values
    type: Values


@lru_cache(maxsize=8)
def _index_facets(catalog: Catalog) -> Mapping[int, _Facets]:
    return {number: _extract_facets(catalog.store, record) for number, record in catalog.store.shows.items()}


def _extract_facets(store: Store, record: Show) -> _Facets:
    return _Facets(
        genres=frozenset(str(store.genres["tv", name]) for name in record.genres),
        keywords=frozenset(str(store.keywords[name]) for name in record.keywords),
        networks=frozenset(str(store.network[name].id) for name in record.networks),
        companies=frozenset(str(store.company[name].id) for name in record.companies),
        language=frozenset({record.language}),
        status=_get_status_or_type_code(STATUSES, record.status),
        type=_get_status_or_type_code(TYPES, record.type),
    )


def _get_status_or_type_code(names: Sequence[str], name: str) -> Values:
    return frozenset({str(names.index(name))} if name in names else ())


def _make_facet_tests(catalog: Catalog, filters: ShowFilters) -> Iterator[Test]:
    facets = _index_facets(catalog)
    facet_filters: tuple[tuple[str, Rule, Callable[[_Facets], Values]], ...] = (
        (filters.with_genres, matches_ids, lambda facet: facet.genres),
        (filters.without_genres, excludes_ids, lambda facet: facet.genres),
        (filters.with_keywords, matches_ids, lambda facet: facet.keywords),
        (filters.without_keywords, excludes_ids, lambda facet: facet.keywords),
        (filters.with_networks, matches_ids, lambda facet: facet.networks),
        (filters.with_companies, matches_ids, lambda facet: facet.companies),
        (filters.without_companies, excludes_ids, lambda facet: facet.companies),
        (filters.with_original_language, matches_ids, lambda facet: facet.language),
        (filters.with_status, matches_ids, lambda facet: facet.status),
        (filters.with_type, matches_ids, lambda facet: facet.type),
    )
    for expression, rule, values in facet_filters:
        if expression:
            yield _make_facet_test(rule, expression, values, facets)
    shortest, longest = filters.with_runtime_gte, filters.with_runtime_lte
    yield lambda record: shortest <= record.runtime and (longest is None or record.runtime <= longest)
    yield lambda record: record.vote_average >= filters.vote_average_gte and record.vote_count >= filters.vote_count_gte
    if filters.screened_theatrically:
        yield lambda record: False


def _make_facet_test(
    rule: Rule, expression: str, values: Callable[[_Facets], Values], facets: Mapping[int, _Facets]
) -> Test:
    return lambda record: rule(expression, values(facets[record.id]))


def _make_date_tests(catalog: Catalog, filters: ShowFilters) -> Iterator[Test]:
    if filters.first_air_date_year is not None:
        yield lambda record: record.first_air_date[:4] == str(filters.first_air_date_year)
    if filters.first_air_date_gte or filters.first_air_date_lte:
        start, end = filters.first_air_date_gte, filters.first_air_date_lte or "9999"
        yield lambda record: start <= record.first_air_date <= end
    if filters.air_date_gte or filters.air_date_lte:
        yield lambda record: airs_between(catalog, record, filters.air_date_gte, filters.air_date_lte or "9999")


def _make_offer_tests(filters: ShowFilters) -> Iterator[Test]:
    """Yield the tests of watch providers and monetization types, for the US if no region is given."""
    region, offer_types = filters.watch_region or "US", filters.with_watch_monetization_types
    if offer_types:
        yield lambda record: matches_ids(
            offer_types, {offer_type for offer_type, ids in find_offers("tv", record.id, region).items() if ids}
        )
    if filters.with_watch_providers:
        yield lambda record: matches_ids(filters.with_watch_providers, _find_providers(record, region, offer_types))


def _find_providers(record: Show, region: str, offer_types: str) -> Values:
    """Return the providers of a show in a region, only for the requested monetization types if there are any."""
    offers = find_offers("tv", record.id, region).items()
    return frozenset(
        str(number) for offer_type, ids in offers if not offer_types or offer_type in offer_types for number in ids
    )
