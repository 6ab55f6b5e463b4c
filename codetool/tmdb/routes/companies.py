"""`/company/…`: one production company."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import details
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import CatalogDep, get_or_404
from codetool.tmdb.images import render_logos
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.routes.parameters import Append
from codetool.tmdb.schemas.detail_schemas import CompanyDetails
from codetool.tmdb.schemas.image_schemas import OrganisationImages

router = APIRouter(prefix="/company/{company_id}")
CompanyId = Annotated[int, Path(description="The company's id, as searches and film and show details return it.")]


@router.get("", response_model=CompanyDetails, summary="Get a company's details")
async def company_details(here: CatalogDep, company_id: CompanyId, append_to_response: Append = "") -> Any:
    """Headquarters, homepage and country of a production company."""
    record = get_or_404(here.store.companies, company_id)
    return append_parts(
        details.render_company_details(record), append_to_response, {"images": lambda: _render_images(record.id)}
    )


@router.get("/images", response_model=OrganisationImages, summary="Get a company's logos")
async def company_images(here: CatalogDep, company_id: CompanyId) -> Any:
    """Logos of a production company: paths below the image server, file types, sizes and votes."""
    return _render_images(get_or_404(here.store.companies, company_id).id)


def _render_images(number: int) -> JSONObject:
    return {"id": number, "logos": render_logos(number)}
