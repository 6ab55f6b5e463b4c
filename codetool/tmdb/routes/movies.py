"""`/movie/{movie_id}`: one film and what belongs to it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import credits, details, list_items, releases
from codetool.tmdb.append_to_response import Parts, append_parts
from codetool.tmdb.catalog_dependency import Catalog, CatalogDep, get_or_404
from codetool.tmdb.images import render_images, select_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Movie
from codetool.tmdb.routes import reviews
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Append, Hidden, ImageLanguages, Language, PageNumber
from codetool.tmdb.schemas.credit_schemas import MovieCredits
from codetool.tmdb.schemas.detail_schemas import MovieDetails
from codetool.tmdb.schemas.image_schemas import MovieImages
from codetool.tmdb.schemas.list_schemas import MovieItem, Page, TypedMovie
from codetool.tmdb.schemas.title_schemas import MovieKeywords, ReleaseDates, Reviews
from codetool.tmdb.similar import find_recommended, find_similar

router = APIRouter(prefix="/movie/{movie_id}")
MovieId = Annotated[int, Path(description="The film's id, as searches and lists return it.")]


@router.get("", response_model=MovieDetails, summary="Get a film's details")
async def movie_details(
    here: CatalogDep,
    movie_id: MovieId,
    append_to_response: Append = "",
    language: Language = "",
    include_image_language: Hidden = "",
) -> Any:
    """Genres, runtime, release date, budget, revenue, production companies and collection of a film."""
    record = get_or_404(here.store.movies, movie_id)
    body = details.render_movie_details(here.store, record, here.as_of, language)
    return append_parts(body, append_to_response, _make_parts(here, record, language, include_image_language))


@router.get("/credits", response_model=MovieCredits, summary="Get a film's cast and crew")
async def movie_credits(here: CatalogDep, movie_id: MovieId) -> Any:
    """The cast in billing order (`order` 0 is the lead) and the crew with each member's job."""
    return credits.render_movie_credits(here.store, get_or_404(here.store.movies, movie_id))


@router.get("/images", response_model=MovieImages, summary="Get a film's images")
async def movie_images(
    here: CatalogDep, movie_id: MovieId, include_image_language: ImageLanguages = "", language: Language = ""
) -> Any:
    """Posters, backdrops and logos: paths below the image server, sizes, languages and votes."""
    return _render_images(get_or_404(here.store.movies, movie_id), select_languages(include_image_language, language))


@router.get("/keywords", response_model=MovieKeywords, summary="Get a film's keywords")
async def movie_keywords(here: CatalogDep, movie_id: MovieId) -> Any:
    """What a film is about, in single words and short phrases."""
    return _render_keywords(here, get_or_404(here.store.movies, movie_id))


@router.get("/recommendations", response_model=Page[TypedMovie], summary="List films to watch after a film")
async def movie_recommendations(
    here: CatalogDep, movie_id: MovieId, page: PageNumber = 1, language: Language = ""
) -> Any:
    """Films that those who liked this one may like, the best match first."""
    return _render_recommendations(here, get_or_404(here.store.movies, movie_id), page, language)


@router.get("/release_dates", response_model=ReleaseDates, summary="Get a film's release dates by country")
async def movie_release_dates(here: CatalogDep, movie_id: MovieId) -> Any:
    """Country by country, the release date, its type (3 is in cinemas) and the certification."""
    return releases.render_release_dates(get_or_404(here.store.movies, movie_id))


@router.get("/reviews", response_model=Reviews, summary="List a film's reviews")
async def movie_reviews(here: CatalogDep, movie_id: MovieId, page: PageNumber = 1) -> Any:
    """What users wrote about a film, with author and rating."""
    return _render_reviews(here, get_or_404(here.store.movies, movie_id), page)


@router.get("/similar", response_model=Page[MovieItem], summary="List films similar to a film")
async def similar_movies(here: CatalogDep, movie_id: MovieId, page: PageNumber = 1, language: Language = "") -> Any:
    """Films with the same genres and keywords, the most similar first."""
    return _render_similar(here, get_or_404(here.store.movies, movie_id), page, language)


def _make_parts(catalog: Catalog, record: Movie, language: str, image_languages: str) -> Parts:
    return {
        "credits": lambda: credits.render_movie_credits(catalog.store, record),
        "images": lambda: _render_images(record, select_languages(image_languages, language)),
        "keywords": lambda: _render_keywords(catalog, record),
        "recommendations": lambda: _render_recommendations(catalog, record, 1, language),
        "release_dates": lambda: releases.render_release_dates(record),
        "reviews": lambda: _render_reviews(catalog, record, 1),
        "similar": lambda: _render_similar(catalog, record, 1, language),
    }


def _render_images(record: Movie, languages: str) -> JSONObject:
    return {
        "backdrops": render_images("movie backdrop", record.id, "backdrop", record.language, languages),
        "id": record.id,
        "logos": render_images("movie logo", record.id, "logo", record.language, languages),
        "posters": render_images("movie poster", record.id, "poster", record.language, languages),
    }


def _render_keywords(catalog: Catalog, record: Movie) -> JSONObject:
    keywords = [{"id": catalog.store.keywords[name], "name": name} for name in record.keywords]
    return {"id": record.id, "keywords": keywords}


def _render_recommendations(catalog: Catalog, record: Movie, page: int, language: str) -> JSONObject:
    return paged(
        find_recommended(catalog, record),
        page,
        lambda other: list_items.render_with_media_type(catalog.store, other, language),
    )


def _render_reviews(catalog: Catalog, record: Movie, page: int) -> JSONObject:
    return {"id": record.id} | paged(reviews.list_reviews(catalog, record), page, reviews.render_review)


def _render_similar(catalog: Catalog, record: Movie, page: int, language: str) -> JSONObject:
    return paged(
        find_similar(catalog, record), page, lambda other: list_items.render_movie(catalog.store, other, language)
    )
