"""`/tv/…`: one show, and the popular ones."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import credits, details, items
from codetool.tools.tmdb.appending import appended
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.credit_shapes import ShowCredits
from codetool.tools.tmdb.detail_shapes import ShowDetails
from codetool.tools.tmdb.list_shapes import Page, ShowItem
from codetool.tools.tmdb.paging import page as paged
from codetool.tools.tmdb.parameters import Append, PageNumber

router = APIRouter(prefix="/tv")
ShowId = Annotated[int, Path(description="The show's id, as searches and lists return it.")]


@router.get("/popular", response_model=Page[ShowItem], summary="List popular TV shows")
async def popular_tv(here: Here, page: PageNumber = 1) -> Any:
    """All shows, most popular first."""
    return paged(here.store.show_index.records, page, lambda record: items.show(here.store, record))


@router.get("/{tv_id}", response_model=ShowDetails, summary="Get a TV show's details")
async def tv_details(here: Here, tv_id: ShowId, append_to_response: Append = "") -> Any:
    """Creators, genres, networks, companies, air dates, and numbers of seasons and episodes of a show."""
    record = find(here.store.shows, tv_id)
    body = details.show(here.store, record)
    return appended(body, append_to_response, {"credits": lambda: credits.of_show(here.store, record)})


@router.get("/{tv_id}/credits", response_model=ShowCredits, summary="Get a TV show's cast and crew")
async def tv_credits(here: Here, tv_id: ShowId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.of_show(here.store, find(here.store.shows, tv_id))
