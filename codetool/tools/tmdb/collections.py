"""`/collection/…`: one series of films."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import details
from codetool.tools.tmdb.appending import appended
from codetool.tools.tmdb.catalogue import Catalogue, Here, find
from codetool.tools.tmdb.detail_shapes import CollectionDetails
from codetool.tools.tmdb.image_shapes import CollectionImages
from codetool.tools.tmdb.items import JSONObject
from codetool.tools.tmdb.parameters import Append, Hidden, Language
from codetool.tools.tmdb.pictures import asked_languages, pictures

router = APIRouter(prefix="/collection/{collection_id}")
CollectionId = Annotated[int, Path(description="The collection's id, as searches and film details return it.")]


@router.get("", response_model=CollectionDetails, summary="Get a collection's films")
async def collection_details(
    here: Here,
    collection_id: CollectionId,
    append_to_response: Append = "",
    language: Language = "",
    include_image_language: Hidden = "",
) -> Any:
    """A collection with its films (`parts`) by release date."""
    record = find(here.store.collections, collection_id)
    asked = asked_languages(include_image_language, language)
    body = details.collection(here.store, record, language)
    return appended(body, append_to_response, {"images": lambda: _images(here, record.id, asked)})


@router.get("/images", response_model=CollectionImages, summary="Get a collection's images")
async def collection_images(
    here: Here, collection_id: CollectionId, include_image_language: Hidden = "", language: Language = ""
) -> Any:
    """Posters and backdrops of a collection: paths below the image server, sizes, languages and votes."""
    record = find(here.store.collections, collection_id)
    return _images(here, record.id, asked_languages(include_image_language, language))


def _images(here: Catalogue, number: int, asked: str) -> JSONObject:
    original = here.store.parts[number][0].language
    return {
        "id": number,
        "backdrops": pictures("collection backdrop", number, "backdrop", original, asked),
        "posters": pictures("collection poster", number, "poster", original, asked),
    }
