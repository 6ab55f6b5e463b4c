"""`/collection/…`: one series of films."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import details
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.detail_shapes import CollectionDetails

router = APIRouter(prefix="/collection")
CollectionId = Annotated[int, Path(description="The collection's id, as searches and film details return it.")]


@router.get("/{collection_id}", response_model=CollectionDetails, summary="Get a collection's films")
async def collection_details(here: Here, collection_id: CollectionId) -> Any:
    """A collection with its films (`parts`) by release date."""
    return details.collection(here.store, find(here.store.collections, collection_id))
