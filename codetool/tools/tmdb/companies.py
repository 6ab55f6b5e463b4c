"""`/company/…`: one production company."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import details
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.detail_shapes import CompanyDetails
from codetool.tools.tmdb.image_shapes import OrganisationImages
from codetool.tools.tmdb.pictures import logos

router = APIRouter(prefix="/company/{company_id}")
CompanyId = Annotated[int, Path(description="The company's id, as searches and film and show details return it.")]


@router.get("", response_model=CompanyDetails, summary="Get a company's details")
async def company_details(here: Here, company_id: CompanyId) -> Any:
    """Headquarters, homepage and country of a production company."""
    return details.company(find(here.store.companies, company_id))


@router.get("/images", response_model=OrganisationImages, summary="Get a company's logos")
async def company_images(here: Here, company_id: CompanyId) -> Any:
    """Logos of a production company: paths below the image server, file types, sizes and votes."""
    record = find(here.store.companies, company_id)
    return {"id": record.id, "logos": logos(record.id)}
