"""`/collection/…`: one series of films."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import details
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep, get_or_404
from codetool.tmdb.images import render_images, select_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.routes.parameters import Append, Hidden, Language
from codetool.tmdb.schemas.detail_schemas import CollectionDetails
from codetool.tmdb.schemas.image_schemas import CollectionImages

router = APIRouter(prefix="/collection/{collection_id}")
CollectionId = Annotated[int, Path(description="The collection's id, as searches and film details return it.")]


@router.get("", response_model=CollectionDetails, summary="Get a collection's films")
async def collection_details(
    here: CatalogDep,
    collection_id: CollectionId,
    append_to_response: Append = "",
    language: Language = "",
    include_image_language: Hidden = "",
) -> Any:
    """A collection with its films (`parts`) by release date."""
    record = get_or_404(here.store.collections, collection_id)
    languages = select_languages(include_image_language, language)
    body = details.render_collection_details(here.store, record, language)
    return append_parts(body, append_to_response, {"images": lambda: _render_images(here, record.id, languages)})


@router.get("/images", response_model=CollectionImages, summary="Get a collection's images")
async def collection_images(
    here: CatalogDep, collection_id: CollectionId, include_image_language: Hidden = "", language: Language = ""
) -> Any:
    """Posters and backdrops of a collection: paths below the image server, sizes, languages and votes."""
    record = get_or_404(here.store.collections, collection_id)
    return _render_images(here, record.id, select_languages(include_image_language, language))


def _render_images(catalog: Catalog, number: int, languages: str) -> JSONObject:
    original = catalog.store.parts[number][0].language
    return {
        "id": number,
        "backdrops": render_images("collection backdrop", number, "backdrop", original, languages),
        "posters": render_images("collection poster", number, "poster", original, languages),
    }
