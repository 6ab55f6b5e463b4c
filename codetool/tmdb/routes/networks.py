"""`/network/…`: one TV network."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import CatalogDep, get_or_404
from codetool.tmdb.images import render_logos
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.routes.parameters import Append
from codetool.tmdb.schemas.image_schemas import OrganisationImages
from codetool.tmdb.schemas.show_schemas import NetworkDetails
from codetool.tmdb.synthetic import make_logo_path

router = APIRouter(prefix="/network/{network_id}")
NetworkId = Annotated[int, Path(description="The network's id, as show details return it.")]


@router.get("", response_model=NetworkDetails, summary="Get a network's details")
async def network_details(here: CatalogDep, network_id: NetworkId, append_to_response: Append = "") -> Any:
    """Headquarters, homepage and country of a TV network."""
    record = get_or_404(here.store.networks, network_id)
    body = {
        "headquarters": record.headquarters,
        "homepage": record.homepage,
        "id": record.id,
        "logo_path": make_logo_path(record.id),
        "name": record.name,
        "origin_country": record.origin_country,
    }
    return append_parts(body, append_to_response, {"images": lambda: _render_images(record.id)})


@router.get("/images", response_model=OrganisationImages, summary="Get a network's logos")
async def network_images(here: CatalogDep, network_id: NetworkId) -> Any:
    """Logos of a TV network: paths below the image server, file types, sizes and votes."""
    return _render_images(get_or_404(here.store.networks, network_id).id)


def _render_images(number: int) -> JSONObject:
    return {"id": number, "logos": render_logos(number)}
