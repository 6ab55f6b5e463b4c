"""Render the responses of the details routes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from codetool.tmdb import list_items
from codetool.tmdb.iso_names import COUNTRIES, LANGUAGES
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Collection, Movie, Organisation, Person
from codetool.tmdb.store import Store
from codetool.tmdb.synthetic import make_image_path, make_logo_path


def render_movie_details(store: Store, record: Movie, as_of: date, language: str = "") -> JSONObject:
    """Return the details of a film; an unknown budget or revenue is 0, an unknown IMDb id is null."""
    item = list_items.render_movie(store, record, language)
    del item["genre_ids"]
    return item | {
        "belongs_to_collection": _render_collection_link(store, record.collection),
        "budget": record.budget,
        "genres": [{"id": store.genres["movie", name], "name": name} for name in record.genres],
        "homepage": None,
        "imdb_id": record.imdb_id or None,
        "origin_country": list(record.countries),
        "production_companies": [list_items.render_organisation(store.company[name]) for name in record.companies],
        "production_countries": render_countries(record.countries),
        "revenue": record.revenue,
        "runtime": record.runtime,
        "spoken_languages": render_languages(record.language),
        "status": "Released" if record.release_date <= as_of.isoformat() else "Post Production",
        "tagline": "",
    }


def render_person_details(record: Person) -> JSONObject:
    """Return the details of a person; unknown dates and places are null."""
    return {
        "adult": False,
        "also_known_as": list(record.also_known_as),
        "biography": f"{record.name} is known for {record.department.lower()}.",
        "birthday": record.birthday or None,
        "deathday": record.deathday or None,
        "gender": record.gender,
        "homepage": None,
        "id": record.id,
        "imdb_id": None,
        "known_for_department": record.department,
        "name": record.name,
        "place_of_birth": record.place_of_birth or None,
        "popularity": record.popularity,
        "profile_path": make_image_path("person", record.id),
    }


def render_collection_details(store: Store, record: Collection, language: str = "") -> JSONObject:
    """Return the details of a collection with its films by release date."""
    item = list_items.render_collection(store, record)
    del item["adult"]
    return item | {
        "parts": [list_items.render_with_media_type(store, part, language) for part in store.parts[record.id]]
    }


def render_company_details(record: Organisation) -> JSONObject:
    """Return the details of a company."""
    return {
        "description": "",
        "headquarters": record.headquarters,
        "homepage": record.homepage,
        "id": record.id,
        "logo_path": make_logo_path(record.id),
        "name": record.name,
        "origin_country": record.origin_country,
        "parent_company": None,
    }


def _render_collection_link(store: Store, number: int | None) -> JSONObject | None:
    if number is None:
        return None
    item = list_items.render_collection(store, store.collections[number])
    return {key: item[key] for key in ("id", "name", "poster_path", "backdrop_path")}


def render_countries(codes: Iterable[str]) -> list[JSONObject]:
    """Return country codes with their names."""
    return [{"iso_3166_1": code, "name": COUNTRIES.get(code, code)} for code in codes]


def render_languages(code: str) -> list[JSONObject]:
    """Return a list with the language of a record: its code, English name and native name."""
    english, native = LANGUAGES.get(code, (code, code))
    return [{"english_name": english, "iso_639_1": code, "name": native}]
