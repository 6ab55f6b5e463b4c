"""`/movie/…`: one film."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import credits, details
from codetool.tools.tmdb.appending import appended
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.credit_shapes import MovieCredits
from codetool.tools.tmdb.detail_shapes import MovieDetails
from codetool.tools.tmdb.parameters import Append

router = APIRouter(prefix="/movie")
MovieId = Annotated[int, Path(description="The film's id, as searches and lists return it.")]


@router.get("/{movie_id}", response_model=MovieDetails, summary="Get a film's details")
async def movie_details(here: Here, movie_id: MovieId, append_to_response: Append = "") -> Any:
    """Genres, runtime, release date, production companies and collection of a film."""
    record = find(here.store.movies, movie_id)
    body = details.movie(here.store, record, here.as_of)
    return appended(body, append_to_response, {"credits": lambda: credits.of_movie(here.store, record)})


@router.get("/{movie_id}/credits", response_model=MovieCredits, summary="Get a film's cast and crew")
async def movie_credits(here: Here, movie_id: MovieId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.of_movie(here.store, find(here.store.movies, movie_id))
