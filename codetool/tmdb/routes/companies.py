"""`/company/…`: one production company."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import details
from codetool.tmdb.append_to_response import appended
from codetool.tmdb.catalog_dependency import Here, find
from codetool.tmdb.images import logos
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.routes.parameters import Append
from codetool.tmdb.schemas.detail_schemas import CompanyDetails
from codetool.tmdb.schemas.image_schemas import OrganisationImages

router = APIRouter(prefix="/company/{company_id}")
CompanyId = Annotated[int, Path(description="The company's id, as searches and film and show details return it.")]


@router.get("", response_model=CompanyDetails, summary="Get a company's details")
async def company_details(here: Here, company_id: CompanyId, append_to_response: Append = "") -> Any:
    """Headquarters, homepage and country of a production company."""
    record = find(here.store.companies, company_id)
    return appended(details.company(record), append_to_response, {"images": lambda: _images(record.id)})


@router.get("/images", response_model=OrganisationImages, summary="Get a company's logos")
async def company_images(here: Here, company_id: CompanyId) -> Any:
    """Logos of a production company: paths below the image server, file types, sizes and votes."""
    return _images(find(here.store.companies, company_id).id)


def _images(number: int) -> JSONObject:
    return {"id": number, "logos": logos(number)}
