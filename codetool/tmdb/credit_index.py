"""Index of all credits by id. A credit links a person to a film or show by a job or role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codetool.tmdb import list_items
from codetool.tmdb.air_dates import get_seasons
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.credits import DEPARTMENTS
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Movie, Person, Show
from codetool.tmdb.season_details import render_episode, render_season
from codetool.tmdb.synthetic import make_credit_id


@dataclass(frozen=True, slots=True)
class Credit:
    """One credit of one person."""

    id: str
    person: Person
    work: Movie | Show
    job: str
    """Job title; `Actor` for cast and guest stars."""
    character: str = ""
    episodes: tuple[Episode, ...] = ()
    """Episodes of a guest star, or of a director or writer credited in episodes; empty: the whole show."""


@lru_cache(maxsize=8)  # a catalog never changes
def index_credits(catalog: Catalog) -> Mapping[str, Credit]:
    """Return all credits by id. If a credit occurs twice, the first counts; credits of episodes come first."""
    credits_by_id: dict[str, Credit] = {}
    for show in catalog.store.shows.values():
        for credit in [*_iterate_episode_credits(catalog, show), *_iterate_show_credits(catalog, show)]:
            credits_by_id.setdefault(credit.id, credit)
    for movie in catalog.store.movies.values():
        for credit in _iterate_work_credits(catalog, "movie", movie):
            credits_by_id.setdefault(credit.id, credit)
    return credits_by_id


def render_credit(catalog: Catalog, credit: Credit, language: str) -> JSONObject:
    """Return the response of the route `/credit/{id}`."""
    kind = "movie" if isinstance(credit.work, Movie) else "tv"
    person = list_items.render_person(credit.person) | {"media_type": "person"}
    is_actor = credit.job == "Actor"
    return {
        "credit_type": "cast" if is_actor else "crew",
        "department": "Acting" if is_actor else DEPARTMENTS.get(credit.job, "Crew"),
        "job": credit.job,
        "media": _render_media(catalog, credit, language),
        "media_type": kind,
        "id": credit.id,
        "person": person,
    }


def _render_media(catalog: Catalog, credit: Credit, language: str) -> JSONObject:
    item = list_items.render_with_media_type(catalog.store, credit.work, language) | {"character": credit.character}
    if isinstance(credit.work, Movie):
        return item
    show = credit.work
    numbers = sorted({episode.season for episode in credit.episodes}) or range(1, len(show.seasons) + 1)
    return item | {
        "episodes": [
            render_episode(catalog, show, episode) | {"media_type": "tv_episode"} for episode in credit.episodes
        ],
        "seasons": [
            render_season(catalog, show, number) | {"media_type": "tv_season", "show_id": show.id} for number in numbers
        ],
    }


def _iterate_work_credits(catalog: Catalog, kind: str, work: Movie | Show) -> Iterator[Credit]:
    for name, character in work.cast.items():
        yield _make_credit(catalog, kind, work, name, "cast", character=character)
    for job, names in work.crew.items():
        for name in names:
            yield _make_credit(catalog, kind, work, name, job)


def _iterate_show_credits(catalog: Catalog, show: Show) -> Iterator[Credit]:
    yield from _iterate_work_credits(catalog, "tv", show)
    for name in show.created_by:
        yield _make_credit(catalog, "tv", show, name, "Creator")


def _iterate_episode_credits(catalog: Catalog, show: Show) -> Iterator[Credit]:
    """Yield the credits that only episodes contain: their guests, directors, writers and own casts."""
    parts: dict[tuple[str, str], list[Episode]] = {}
    characters: dict[tuple[str, str], str] = {}
    for episode in (episode for season in get_seasons(catalog, show) for episode in season):
        for name, role, character in _iterate_episode_people(episode):
            parts.setdefault((name, role), []).append(episode)
            characters.setdefault((name, role), character)
    for (name, role), episodes in parts.items():
        yield _make_credit(catalog, "tv", show, name, role, character=characters[name, role], episodes=episodes)


def _iterate_episode_people(episode: Episode) -> Iterator[tuple[str, str, str]]:
    for role, cast in (("cast", episode.cast), ("guest", episode.guests)):
        for name, character in cast.items():
            yield name, role, character
    for job, names in (("Director", episode.directors), ("Writer", episode.writers)):
        for name in names:
            yield name, job, ""


def _make_credit(
    catalog: Catalog,
    kind: str,
    work: Movie | Show,
    name: str,
    role: str,
    *,
    character: str = "",
    episodes: Sequence[Episode] = (),
) -> Credit:
    person = catalog.store.person[name]
    credit_id = make_credit_id(kind, work.id, person.id, role)
    return Credit(credit_id, person, work, "Actor" if role in ("cast", "guest") else role, character, tuple(episodes))
