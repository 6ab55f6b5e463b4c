"""`/movie/…`: one film."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tools.tmdb import credits, details
from codetool.tools.tmdb.catalogue import Here, find
from codetool.tools.tmdb.schemas.credits import MovieCredits
from codetool.tools.tmdb.schemas.details import MovieDetails

router = APIRouter(prefix="/movie")
MovieId = Annotated[int, Path(description="The film's id, as searches and lists return it.")]


@router.get("/{movie_id}", response_model=MovieDetails, summary="Get a film's details")
async def movie_details(here: Here, movie_id: MovieId) -> Any:
    """Genres, runtime, release date, production companies and collection of a film."""
    return details.movie(here.store, find(here.store.movies, movie_id), here.as_of)


@router.get("/{movie_id}/credits", response_model=MovieCredits, summary="Get a film's cast and crew")
async def movie_credits(here: Here, movie_id: MovieId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.of_movie(here.store, find(here.store.movies, movie_id))
