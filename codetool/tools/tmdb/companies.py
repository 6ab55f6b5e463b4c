"""`/company/…`: one production company."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import details
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.detail_shapes import CompanyDetails

router = APIRouter(prefix="/company")
CompanyId = Annotated[int, Path(description="The company's id, as film and show details return it.")]


@router.get("/{company_id}", response_model=CompanyDetails, summary="Get a company's details")
async def company_details(here: Here, company_id: CompanyId) -> Any:
    """Headquarters, homepage and country of a production company."""
    return details.company(find(here.store.companies, company_id))
