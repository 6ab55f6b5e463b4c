"""`/review/…` and `/credit/…`: one review, one credit, by the ids that lists of them give."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb.catalog_dependency import CatalogDep, get_or_404
from codetool.tmdb.credit_index import index_credits, render_credit
from codetool.tmdb.routes import reviews
from codetool.tmdb.routes.parameters import Language
from codetool.tmdb.schemas.title_schemas import CreditDetails, ReviewDetails

router = APIRouter()
ReviewId = Annotated[str, Path(description="The review's id, as lists of reviews return it.")]
CreditId = Annotated[str, Path(description="The credit's id (`credit_id`), as casts and crews return it.")]


@router.get("/review/{review_id}", response_model=ReviewDetails, summary="Get a review")
async def review_details(here: CatalogDep, review_id: ReviewId) -> Any:
    """A review with its author, and the film or show that it is of."""
    return reviews.render_review_details(get_or_404(reviews.reviews_by_id(here), review_id))


@router.get("/credit/{credit_id}", response_model=CreditDetails, summary="Get a credit")
async def one_credit(here: CatalogDep, credit_id: CreditId, language: Language = "") -> Any:
    """One job or role: the person, the film or show, and in a show the seasons and episodes."""
    return render_credit(here, get_or_404(index_credits(here), credit_id), language)
