"""`/person/…`: one person."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import credits, details
from codetool.tools.tmdb.appending import appended
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.credit_shapes import PersonMovieCredits
from codetool.tools.tmdb.detail_shapes import PersonDetails
from codetool.tools.tmdb.parameters import Append

router = APIRouter(prefix="/person")
PersonId = Annotated[int, Path(description="The person's id, as searches and credits return it.")]


@router.get("/{person_id}", response_model=PersonDetails, summary="Get a person's details")
async def person_details(here: Here, person_id: PersonId, append_to_response: Append = "") -> Any:
    """Birthday, day of death, place of birth and main department of a person."""
    record = find(here.store.people, person_id)
    body = details.person(record)
    return appended(body, append_to_response, {"movie_credits": lambda: credits.of_person(here.store, record)})


@router.get(
    "/{person_id}/movie_credits", response_model=PersonMovieCredits, summary="Get the films a person worked on"
)
async def person_movie_credits(here: Here, person_id: PersonId) -> Any:
    """Films the person acted in (`cast`) and films with another job, such as Director (`crew`)."""
    return credits.of_person(here.store, find(here.store.people, person_id))
