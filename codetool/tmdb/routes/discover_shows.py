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
"""By the service's code, from 0."""
TYPES = ("Documentary", "News", "Miniseries", "Reality", "Scripted", "Talk Show", "Video")
"""By the service's code, from 0."""
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
    language = request.query_params.get("language", "")  # as everywhere, and as everywhere not in the document
    found = _find_shows(here, filters.model_copy(update={"page": 1}))
    return paged(found, filters.page, lambda record: list_items.render_show(here.store, record, language))


@lru_cache(maxsize=1024)  # a catalogue never changes
def _find_shows(here: Catalog, asked: ShowFilters) -> Sequence[Show]:
    """The shows that pass, sorted; popularity decides between equals."""
    tests = [*_make_facet_tests(here, asked), *_make_date_tests(here, asked), *_make_offer_tests(asked)]
    found = [record for record in here.store.show_index.records if all(test(record) for test in tests)]
    order, _, direction = asked.sort_by.partition(".")
    return sorted(found, key=ORDERS[order], reverse=direction == "desc")


@dataclass(frozen=True, slots=True)
class _Facets:
    """The ids and codes that a show can be found by, as they stand in a query."""

    genres: Values
    keywords: Values
    networks: Values
    companies: Values
    language: Values
    status: Values
    type: Values


@lru_cache(maxsize=8)
def _facets_by_id(here: Catalog) -> Mapping[int, _Facets]:
    return {number: _extract_facets(here.store, record) for number, record in here.store.shows.items()}


def _extract_facets(store: Store, record: Show) -> _Facets:
    return _Facets(
        genres=frozenset(str(store.genres["tv", name]) for name in record.genres),
        keywords=frozenset(str(store.keywords[name]) for name in record.keywords),
        networks=frozenset(str(store.network[name].id) for name in record.networks),
        companies=frozenset(str(store.company[name].id) for name in record.companies),
        language=frozenset({record.language}),
        status=_status_or_type_code(STATUSES, record.status),
        type=_status_or_type_code(TYPES, record.type),
    )


def _status_or_type_code(names: Sequence[str], name: str) -> Values:
    return frozenset({str(names.index(name))} if name in names else ())


def _make_facet_tests(here: Catalog, asked: ShowFilters) -> Iterator[Test]:
    facets = _facets_by_id(here)
    filters: tuple[tuple[str, Rule, Callable[[_Facets], Values]], ...] = (
        (asked.with_genres, matches_ids, lambda facet: facet.genres),
        (asked.without_genres, excludes_ids, lambda facet: facet.genres),
        (asked.with_keywords, matches_ids, lambda facet: facet.keywords),
        (asked.without_keywords, excludes_ids, lambda facet: facet.keywords),
        (asked.with_networks, matches_ids, lambda facet: facet.networks),
        (asked.with_companies, matches_ids, lambda facet: facet.companies),
        (asked.without_companies, excludes_ids, lambda facet: facet.companies),
        (asked.with_original_language, matches_ids, lambda facet: facet.language),
        (asked.with_status, matches_ids, lambda facet: facet.status),
        (asked.with_type, matches_ids, lambda facet: facet.type),
    )
    for expression, rule, values in filters:
        if expression:
            yield _make_facet_test(rule, expression, values, facets)
    shortest, longest = asked.with_runtime_gte, asked.with_runtime_lte
    yield lambda record: shortest <= record.runtime and (longest is None or record.runtime <= longest)
    yield lambda record: record.vote_average >= asked.vote_average_gte and record.vote_count >= asked.vote_count_gte
    if asked.screened_theatrically:
        yield lambda record: False


def _make_facet_test(
    rule: Rule, expression: str, values: Callable[[_Facets], Values], facets: Mapping[int, _Facets]
) -> Test:
    return lambda record: rule(expression, values(facets[record.id]))


def _make_date_tests(here: Catalog, asked: ShowFilters) -> Iterator[Test]:
    if asked.first_air_date_year is not None:
        yield lambda record: record.first_air_date[:4] == str(asked.first_air_date_year)
    if asked.first_air_date_gte or asked.first_air_date_lte:
        start, end = asked.first_air_date_gte, asked.first_air_date_lte or "9999"
        yield lambda record: start <= record.first_air_date <= end
    if asked.air_date_gte or asked.air_date_lte:
        yield lambda record: airs_between(here, record, asked.air_date_gte, asked.air_date_lte or "9999")


def _make_offer_tests(asked: ShowFilters) -> Iterator[Test]:
    """What asks for providers or ways to watch: in the United States where no region is named."""
    region, ways = asked.watch_region or "US", asked.with_watch_monetization_types
    if ways:
        yield lambda record: matches_ids(
            ways, {way for way, ids in find_offers("tv", record.id, region).items() if ids}
        )
    if asked.with_watch_providers:
        yield lambda record: matches_ids(asked.with_watch_providers, _find_providers(record, region, ways))


def _find_providers(record: Show, region: str, ways: str) -> Values:
    """The providers of the show there, in one of the ways asked for if any is."""
    found = find_offers("tv", record.id, region).items()
    return frozenset(str(number) for way, ids in found if not ways or way in ways for number in ids)
