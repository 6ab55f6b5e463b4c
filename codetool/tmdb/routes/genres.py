"""`/genre/…`: the genres of films and of shows."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from codetool.tmdb.catalog_dependency import Catalog, CatalogDep
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Kind
from codetool.tmdb.schemas.title_schemas import GenreList

router = APIRouter(prefix="/genre")


@router.get("/movie/list", response_model=GenreList, summary="List the genres of films")
async def movie_genres(here: CatalogDep) -> Any:
    """Every genre of films with its id, which `/discover/movie` takes."""
    return _render_genres(here, "movie")


@router.get("/tv/list", response_model=GenreList, summary="List the genres of TV shows")
async def tv_genres(here: CatalogDep) -> Any:
    """Every genre of TV shows with its id, which `/discover/tv` takes."""
    return _render_genres(here, "tv")


def _render_genres(catalog: Catalog, kind: Kind) -> JSONObject:
    return {
        "genres": [
            {"id": genre_id, "name": name}
            for (genre_kind, name), genre_id in catalog.store.genres.items()
            if genre_kind == kind
        ]
    }
