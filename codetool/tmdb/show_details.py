"""Render the response of the details route of a show."""

from __future__ import annotations

from codetool.tmdb import list_items
from codetool.tmdb.air_dates import find_last_aired, find_next_aired
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.details import render_countries, render_languages
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Person, Show
from codetool.tmdb.season_details import render_episode, render_season
from codetool.tmdb.synthetic import make_credit_id, make_image_path


def render_show_details(catalog: Catalog, record: Show, language: str = "") -> JSONObject:
    """Return the details of a show, with the last episode aired by the catalog's date and the next one."""
    store, last, following = catalog.store, find_last_aired(catalog, record), find_next_aired(catalog, record)
    item = list_items.render_show(store, record, language)
    del item["genre_ids"]
    return item | {
        "created_by": [_render_creator(store.person[name], record) for name in record.created_by],
        "episode_run_time": [record.runtime],
        "genres": [{"id": store.genres["tv", name], "name": name} for name in record.genres],
        "homepage": record.homepage,
        "in_production": record.status in ("Returning Series", "In Production"),
        "languages": [record.language],
        "last_air_date": _find_last_day(catalog, record, last),
        "last_episode_to_air": render_episode(catalog, record, last) if last else None,
        "next_episode_to_air": render_episode(catalog, record, following) if following else None,
        "networks": [list_items.render_organisation(store.network[name]) for name in record.networks],
        "number_of_episodes": sum(season.episodes for season in record.seasons),
        "number_of_seasons": len(record.seasons),
        "production_companies": [list_items.render_organisation(store.company[name]) for name in record.companies],
        "production_countries": render_countries(record.countries),
        "seasons": [render_season(catalog, record, number) for number in range(1, len(record.seasons) + 1)],
        "spoken_languages": render_languages(record.language),
        "status": record.status,
        "tagline": "",
        "type": record.type,
    }


def _find_last_day(catalog: Catalog, record: Show, last: Episode | None) -> str | None:
    if record.last_air_date <= catalog.as_of.isoformat():
        return record.last_air_date or None
    return last.air_date if last else None


def _render_creator(record: Person, of: Show) -> JSONObject:
    return {
        "id": record.id,
        "credit_id": make_credit_id("tv", of.id, record.id, "Creator"),
        "name": record.name,
        "original_name": record.name,
        "gender": record.gender,
        "profile_path": make_image_path("person", record.id),
    }
