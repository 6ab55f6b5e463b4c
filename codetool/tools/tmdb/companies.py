"""`/company/…`: one production company."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import details
from codetool.tools.tmdb.appending import appended
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.detail_shapes import CompanyDetails
from codetool.tools.tmdb.image_shapes import OrganisationImages
from codetool.tools.tmdb.items import JSONObject
from codetool.tools.tmdb.parameters import Append
from codetool.tools.tmdb.pictures import logos

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
