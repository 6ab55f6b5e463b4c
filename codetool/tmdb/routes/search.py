"""`/search/…`: films, shows, people, collections and companies by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from codetool.tmdb import list_items
from codetool.tmdb.catalog_dependency import CatalogDep
from codetool.tmdb.releases import was_released_in
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Adult, Language, PageNumber, Region, Text
from codetool.tmdb.schemas.list_schemas import CollectionItem, CompanyItem, FoundPerson, MovieItem, Page, ShowItem

router = APIRouter(prefix="/search")
Year = Annotated[int | None, Query(description="Keep films released in this year, in the region if one is named.")]
PrimaryYear = Annotated[int | None, Query(description="Keep films first released in this year, wherever.")]
AnyRegion = Annotated[str, Query(description="Accepted; people are found alike in all countries.")]
FirstYear = Annotated[int | None, Query(description="Keep shows whose first episode aired in this year.")]


@router.get("/movie", response_model=Page[MovieItem], summary="Search films by title")
async def search_movie(
    here: CatalogDep,
    query: Text,
    page: PageNumber = 1,
    include_adult: Adult = False,
    region: Region = "",
    year: Year = None,
    primary_release_year: PrimaryYear = None,
    language: Language = "",
) -> Any:
    """Films whose title or original title holds the words, most popular first."""
    movies = here.store.movie_index.find(query)
    if year is not None:
        movies = [record for record in movies if was_released_in(record, str(year), region)]
    if primary_release_year is not None:
        movies = [record for record in movies if record.release_date[:4] == str(primary_release_year)]
    return paged(movies, page, lambda record: list_items.render_movie(here.store, record, language, region))


@router.get("/tv", response_model=Page[ShowItem], summary="Search TV shows by name")
async def search_tv(
    here: CatalogDep,
    query: Text,
    page: PageNumber = 1,
    include_adult: Adult = False,
    first_air_date_year: FirstYear = None,
    language: Language = "",
) -> Any:
    """Shows whose name or original name holds the words, most popular first."""
    shows = here.store.show_index.find(query)
    if first_air_date_year is not None:
        shows = [record for record in shows if record.first_air_date[:4] == str(first_air_date_year)]
    return paged(shows, page, lambda record: list_items.render_show(here.store, record, language))


@router.get("/person", response_model=Page[FoundPerson], summary="Search people by name")
async def search_person(
    here: CatalogDep,
    query: Text,
    page: PageNumber = 1,
    include_adult: Adult = False,
    region: AnyRegion = "",
    language: Language = "",
) -> Any:
    """People whose name holds the words, most popular first, each with the works they are known for."""
    people = here.store.person_index.find(query)
    return paged(people, page, lambda record: list_items.render_known_person(here.store, record, language))


@router.get("/collection", response_model=Page[CollectionItem], summary="Search collections of films by name")
async def search_collection(here: CatalogDep, query: Text, page: PageNumber = 1) -> Any:
    """Collections whose name holds the words, the one with the most popular film first."""
    return paged(
        here.store.collection_index.find(query), page, lambda record: list_items.render_collection(here.store, record)
    )


@router.get("/company", response_model=Page[CompanyItem], summary="Search production companies by name")
async def search_company(here: CatalogDep, query: Text, page: PageNumber = 1) -> Any:
    """Companies whose name holds the words, the one with the most popular film first."""
    return paged(here.store.company_index.find(query), page, list_items.render_organisation)
