"""`/person/…`: popular people, and one person."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from codetool.tmdb import credits, details, list_items
from codetool.tmdb.append_to_response import append_parts
from codetool.tmdb.catalog_dependency import CatalogDep, get_or_404
from codetool.tmdb.images import render_images
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.routes.paging import paginate as paged
from codetool.tmdb.routes.parameters import Append, Language, PageNumber
from codetool.tmdb.schemas.credit_schemas import PersonMovieCredits, PersonShowCredits
from codetool.tmdb.schemas.detail_schemas import PersonDetails
from codetool.tmdb.schemas.list_schemas import FoundPerson, Page
from codetool.tmdb.schemas.show_schemas import PersonImages
from codetool.tmdb.tv_credits import render_tv_credits

router = APIRouter(prefix="/person")
PersonId = Annotated[int, Path(description="The person's id, as searches and credits return it.")]


@router.get("/popular", response_model=Page[FoundPerson], summary="List popular people")
async def popular_people(here: CatalogDep, page: PageNumber = 1, language: Language = "") -> Any:
    """All people, most popular first, each with the works they are known for."""
    people = here.store.person_index.records
    return paged(people, page, lambda record: list_items.render_known_person(here.store, record, language))


@router.get("/{person_id}", response_model=PersonDetails, summary="Get a person's details")
async def person_details(
    here: CatalogDep, person_id: PersonId, append_to_response: Append = "", language: Language = ""
) -> Any:
    """Birthday, day of death, place of birth and main department of a person."""
    record = get_or_404(here.store.people, person_id)
    parts = {
        "images": lambda: _render_images(person_id),
        "movie_credits": lambda: credits.render_person_credits(here.store, record, language),
        "tv_credits": lambda: render_tv_credits(here, record, language),
    }
    return append_parts(details.render_person_details(record), append_to_response, parts)


@router.get("/{person_id}/images", response_model=PersonImages, summary="Get a person's photos")
async def person_images(here: CatalogDep, person_id: PersonId) -> Any:
    """Photos of a person (`profiles`): paths below the image server, sizes and votes."""
    return _render_images(get_or_404(here.store.people, person_id).id)


@router.get("/{person_id}/movie_credits", response_model=PersonMovieCredits, summary="Get the films a person worked on")
async def person_movie_credits(here: CatalogDep, person_id: PersonId, language: Language = "") -> Any:
    """Films the person acted in (`cast`) and films with another job, such as Director (`crew`)."""
    return credits.render_person_credits(here.store, get_or_404(here.store.people, person_id), language)


@router.get("/{person_id}/tv_credits", response_model=PersonShowCredits, summary="Get the TV shows a person worked on")
async def person_tv_credits(here: CatalogDep, person_id: PersonId, language: Language = "") -> Any:
    """Shows the person appeared in (`cast`) and shows with another job (`crew`), with numbers of episodes."""
    return render_tv_credits(here, get_or_404(here.store.people, person_id), language)


def _render_images(number: int) -> JSONObject:
    return {"id": number, "profiles": render_images("person", number, "profile")}
