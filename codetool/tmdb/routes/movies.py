"""`/movie/{movie_id}`: one film and what belongs to it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import credits, details, list_items, releases
from codetool.tmdb.append_to_response import Parts, appended
from codetool.tmdb.catalog_dependency import Catalogue, Here, find
from codetool.tmdb.images import asked_languages, pictures
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Movie
from codetool.tmdb.routes import reviews
from codetool.tmdb.routes.paging import page as paged
from codetool.tmdb.routes.parameters import Append, Hidden, ImageLanguages, Language, PageNumber
from codetool.tmdb.schemas.credit_schemas import MovieCredits
from codetool.tmdb.schemas.detail_schemas import MovieDetails
from codetool.tmdb.schemas.image_schemas import MovieImages
from codetool.tmdb.schemas.list_schemas import MovieItem, Page, TypedMovie
from codetool.tmdb.schemas.title_schemas import MovieKeywords, ReleaseDates, Reviews
from codetool.tmdb.similar import recommended, similar

router = APIRouter(prefix="/movie/{movie_id}")
MovieId = Annotated[int, Path(description="The film's id, as searches and lists return it.")]


@router.get("", response_model=MovieDetails, summary="Get a film's details")
async def movie_details(
    here: Here,
    movie_id: MovieId,
    append_to_response: Append = "",
    language: Language = "",
    include_image_language: Hidden = "",
) -> Any:
    """Genres, runtime, release date, budget, revenue, production companies and collection of a film."""
    record = find(here.store.movies, movie_id)
    body = details.movie(here.store, record, here.as_of, language)
    return appended(body, append_to_response, _parts(here, record, language, include_image_language))


@router.get("/credits", response_model=MovieCredits, summary="Get a film's cast and crew")
async def movie_credits(here: Here, movie_id: MovieId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.of_movie(here.store, find(here.store.movies, movie_id))


@router.get("/images", response_model=MovieImages, summary="Get a film's images")
async def movie_images(
    here: Here, movie_id: MovieId, include_image_language: ImageLanguages = "", language: Language = ""
) -> Any:
    """Posters, backdrops and logos: paths below the image server, sizes, languages and votes."""
    return _images(find(here.store.movies, movie_id), asked_languages(include_image_language, language))


@router.get("/keywords", response_model=MovieKeywords, summary="Get a film's keywords")
async def movie_keywords(here: Here, movie_id: MovieId) -> Any:
    """What a film is about, in single words and short phrases."""
    return _keywords(here, find(here.store.movies, movie_id))


@router.get("/recommendations", response_model=Page[TypedMovie], summary="List films to watch after a film")
async def movie_recommendations(here: Here, movie_id: MovieId, page: PageNumber = 1, language: Language = "") -> Any:
    """Films that those who liked this one may like, the best match first."""
    return _recommendations(here, find(here.store.movies, movie_id), page, language)


@router.get("/release_dates", response_model=ReleaseDates, summary="Get a film's release dates by country")
async def movie_release_dates(here: Here, movie_id: MovieId) -> Any:
    """Country by country, the release date, its type (3 is in cinemas) and the certification."""
    return releases.release_dates(find(here.store.movies, movie_id))


@router.get("/reviews", response_model=Reviews, summary="List a film's reviews")
async def movie_reviews(here: Here, movie_id: MovieId, page: PageNumber = 1) -> Any:
    """What users wrote about a film, with author and rating."""
    return _reviews(here, find(here.store.movies, movie_id), page)


@router.get("/similar", response_model=Page[MovieItem], summary="List films similar to a film")
async def similar_movies(here: Here, movie_id: MovieId, page: PageNumber = 1, language: Language = "") -> Any:
    """Films with the same genres and keywords, the most similar first."""
    return _similar(here, find(here.store.movies, movie_id), page, language)


def _parts(here: Catalogue, record: Movie, language: str, image_languages: str) -> Parts:
    return {
        "credits": lambda: credits.of_movie(here.store, record),
        "images": lambda: _images(record, asked_languages(image_languages, language)),
        "keywords": lambda: _keywords(here, record),
        "recommendations": lambda: _recommendations(here, record, 1, language),
        "release_dates": lambda: releases.release_dates(record),
        "reviews": lambda: _reviews(here, record, 1),
        "similar": lambda: _similar(here, record, 1, language),
    }


def _images(record: Movie, asked: str) -> JSONObject:
    return {
        "backdrops": pictures("movie backdrop", record.id, "backdrop", record.language, asked),
        "id": record.id,
        "logos": pictures("movie logo", record.id, "logo", record.language, asked),
        "posters": pictures("movie poster", record.id, "poster", record.language, asked),
    }


def _keywords(here: Catalogue, record: Movie) -> JSONObject:
    found = [{"id": here.store.keywords[name], "name": name} for name in record.keywords]
    return {"id": record.id, "keywords": found}


def _recommendations(here: Catalogue, record: Movie, page: int, language: str) -> JSONObject:
    return paged(recommended(here, record), page, lambda other: list_items.typed(here.store, other, language))


def _reviews(here: Catalogue, record: Movie, page: int) -> JSONObject:
    return {"id": record.id} | paged(reviews.reviews(here, record), page, reviews.item)


def _similar(here: Catalogue, record: Movie, page: int, language: str) -> JSONObject:
    return paged(similar(here, record), page, lambda other: list_items.movie(here.store, other, language))
