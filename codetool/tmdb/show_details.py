"""A show as it stands alone: what its details route answers."""

from __future__ import annotations

from codetool.tmdb import list_items
from codetool.tmdb.air_dates import last_aired, next_aired
from codetool.tmdb.catalog_dependency import Catalogue
from codetool.tmdb.details import countries, languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Person, Show
from codetool.tmdb.season_details import episode_item, season_item
from codetool.tmdb.synthetic import credit_id, image


def show_details(here: Catalogue, record: Show, language: str = "") -> JSONObject:
    """A series' details; the last and the next episode are those that the catalogue's day lies between."""
    store, last, following = here.store, last_aired(here, record), next_aired(here, record)
    item = list_items.show(store, record, language)
    del item["genre_ids"]
    return item | {
        "created_by": [_creator(store.person[name], record) for name in record.created_by],
        "episode_run_time": [record.runtime],
        "genres": [{"id": store.genres["tv", name], "name": name} for name in record.genres],
        "homepage": record.homepage,
        "in_production": record.status in ("Returning Series", "In Production"),
        "languages": [record.language],
        "last_air_date": _last_day(here, record, last),
        "last_episode_to_air": episode_item(here, record, last) if last else None,
        "next_episode_to_air": episode_item(here, record, following) if following else None,
        "networks": [list_items.organisation(store.network[name]) for name in record.networks],
        "number_of_episodes": sum(season.episodes for season in record.seasons),
        "number_of_seasons": len(record.seasons),
        "production_companies": [list_items.organisation(store.company[name]) for name in record.companies],
        "production_countries": countries(record.countries),
        "seasons": [season_item(here, record, number) for number in range(1, len(record.seasons) + 1)],
        "spoken_languages": languages(record.language),
        "status": record.status,
        "tagline": "",
        "type": record.type,
    }


def _last_day(here: Catalogue, record: Show, last: Episode | None) -> str | None:
    if record.last_air_date <= here.as_of.isoformat():
        return record.last_air_date or None
    return last.air_date if last else None


def _creator(record: Person, of: Show) -> JSONObject:
    return {
        "id": record.id,
        "credit_id": credit_id("tv", of.id, record.id, "Creator"),
        "name": record.name,
        "original_name": record.name,
        "gender": record.gender,
        "profile_path": image("person", record.id),
    }
