"""Records as they stand alone: the answers of the details routes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from codetool.tools.tmdb import items
from codetool.tools.tmdb.items import JSONObject
from codetool.tools.tmdb.made import credit_id, image, overview
from codetool.tools.tmdb.records import Collection, Movie, Organisation, Person, Show
from codetool.tools.tmdb.store import Store

COUNTRIES = {
    "AU": "Australia",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "JP": "Japan",
    "KR": "South Korea",
    "MX": "Mexico",
    "NZ": "New Zealand",
    "SU": "Soviet Union",
    "US": "United States of America",
}
LANGUAGES = {
    "de": ("German", "Deutsch"),
    "en": ("English", "English"),
    "es": ("Spanish", "Español"),
    "fr": ("French", "Français"),
    "ja": ("Japanese", "日本語"),
    "ko": ("Korean", "한국어/조선말"),
    "ru": ("Russian", "Русский"),
}


def movie(store: Store, record: Movie, as_of: date) -> JSONObject:
    """A film's details; budget, revenue and ids of other services are not kept (0 and null, TMDB's unknown)."""
    item = items.movie(store, record)
    del item["genre_ids"]
    return item | {
        "belongs_to_collection": _link(store, record.collection),
        "budget": 0,
        "genres": [{"id": store.genres["movie", name], "name": name} for name in record.genres],
        "homepage": None,
        "imdb_id": None,
        "origin_country": list(record.countries),
        "production_companies": [organisation(store.company[name]) for name in record.companies],
        "production_countries": _countries(record.countries),
        "revenue": 0,
        "runtime": record.runtime,
        "spoken_languages": _languages(record.language),
        "status": "Released" if record.release_date <= as_of.isoformat() else "Post Production",
        "tagline": "",
    }


def show(store: Store, record: Show) -> JSONObject:
    """A series' details. Episodes have no titles yet, so the last one is called by its number."""
    item = items.show(store, record)
    del item["genre_ids"]
    return item | {
        "created_by": [_creator(store.person[name], record) for name in record.created_by],
        "episode_run_time": [record.runtime],
        "genres": [{"id": store.genres["tv", name], "name": name} for name in record.genres],
        "homepage": record.homepage,
        "in_production": record.status == "Returning Series",
        "languages": [record.language],
        "last_air_date": record.last_air_date,
        "last_episode_to_air": _last_episode(record),
        "next_episode_to_air": None,
        "networks": [organisation(store.network[name]) for name in record.networks],
        "number_of_episodes": sum(season.episodes for season in record.seasons),
        "number_of_seasons": len(record.seasons),
        "production_companies": [organisation(store.company[name]) for name in record.companies],
        "production_countries": _countries(record.countries),
        "seasons": _seasons(record),
        "spoken_languages": _languages(record.language),
        "status": record.status,
        "tagline": "",
        "type": record.type,
    }


def person(record: Person) -> JSONObject:
    """A person's details; unknown dates and places are null."""
    return {
        "adult": False,
        "also_known_as": [],
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
        "profile_path": image("person", record.id),
    }


def collection(store: Store, record: Collection) -> JSONObject:
    """A collection's details with its films by release date."""
    item = items.collection(store, record)
    del item["adult"]
    return item | {"parts": [items.typed(store, part) for part in store.parts[record.id]]}


def company(record: Organisation) -> JSONObject:
    """A company's details."""
    return {
        "description": "",
        "headquarters": record.headquarters,
        "homepage": record.homepage,
        "id": record.id,
        "logo_path": image("organisation", record.id),
        "name": record.name,
        "origin_country": record.origin_country,
        "parent_company": None,
    }


def organisation(record: Organisation) -> JSONObject:
    """A company or network inside another record."""
    return {
        "id": record.id,
        "logo_path": image("organisation", record.id),
        "name": record.name,
        "origin_country": record.origin_country,
    }


def _link(store: Store, number: int | None) -> JSONObject | None:
    if number is None:
        return None
    item = items.collection(store, store.collections[number])
    return {key: item[key] for key in ("id", "name", "poster_path", "backdrop_path")}


def _countries(codes: Iterable[str]) -> list[JSONObject]:
    return [{"iso_3166_1": code, "name": COUNTRIES[code]} for code in codes]


def _languages(code: str) -> list[JSONObject]:
    english, own = LANGUAGES[code]
    return [{"english_name": english, "iso_639_1": code, "name": own}]


def _creator(record: Person, of: Show) -> JSONObject:
    return {
        "id": record.id,
        "credit_id": credit_id("tv", of.id, record.id, "Creator"),
        "name": record.name,
        "gender": record.gender,
        "profile_path": image("person", record.id),
    }


def _last_episode(record: Show) -> JSONObject:
    season = len(record.seasons)
    number = record.seasons[-1].episodes
    return {
        "air_date": record.last_air_date,
        "episode_number": number,
        "id": record.id * 10_000 + season * 100 + number,
        "name": f"Episode {number}",
        "overview": "",
        "production_code": "",
        "season_number": season,
        "show_id": record.id,
        "still_path": image(f"tv season {season} episode {number}", record.id),
        "vote_average": record.vote_average,
        "vote_count": record.vote_count,
    }


def _seasons(record: Show) -> list[JSONObject]:
    return [
        {
            "air_date": season.air_date,
            "episode_count": season.episodes,
            "id": record.id * 100 + number,
            "name": f"Season {number}",
            "overview": overview("season", record.genres, season.air_date),
            "poster_path": image(f"tv season {number}", record.id),
            "season_number": number,
            "vote_average": record.vote_average,
        }
        for number, season in enumerate(record.seasons, start=1)
    ]
