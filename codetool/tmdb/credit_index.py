"""Index of all credits by id: person, film or show, and job or role."""

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
    """`Actor` for cast and guests."""
    character: str = ""
    episodes: tuple[Episode, ...] = ()
    """Those of a guest, or of a director or writer whom episodes name; empty for a part of the whole show."""


@lru_cache(maxsize=8)  # a catalogue never changes
def index_credits(here: Catalog) -> Mapping[str, Credit]:
    """The index; where two ways lead to one credit, the first counts, and episodes' credits come first."""
    found: dict[str, Credit] = {}
    for show in here.store.shows.values():
        for credit in [*_iterate_episode_credits(here, show), *_iterate_show_credits(here, show)]:
            found.setdefault(credit.id, credit)
    for movie in here.store.movies.values():
        for credit in _iterate_work_credits(here, "movie", movie):
            found.setdefault(credit.id, credit)
    return found


def render_credit(here: Catalog, credit: Credit, language: str) -> JSONObject:
    """The credit as its route answers it."""
    kind = "movie" if isinstance(credit.work, Movie) else "tv"
    person = list_items.render_person(credit.person) | {"media_type": "person"}
    acts = credit.job == "Actor"
    return {
        "credit_type": "cast" if acts else "crew",
        "department": "Acting" if acts else DEPARTMENTS.get(credit.job, "Crew"),
        "job": credit.job,
        "media": _render_media(here, credit, language),
        "media_type": kind,
        "id": credit.id,
        "person": person,
    }


def _render_media(here: Catalog, credit: Credit, language: str) -> JSONObject:
    item = list_items.render_with_media_type(here.store, credit.work, language) | {"character": credit.character}
    if isinstance(credit.work, Movie):
        return item
    show = credit.work
    numbers = sorted({episode.season for episode in credit.episodes}) or range(1, len(show.seasons) + 1)
    return item | {
        "episodes": [render_episode(here, show, episode) | {"media_type": "tv_episode"} for episode in credit.episodes],
        "seasons": [
            render_season(here, show, number) | {"media_type": "tv_season", "show_id": show.id} for number in numbers
        ],
    }


def _iterate_work_credits(here: Catalog, kind: str, work: Movie | Show) -> Iterator[Credit]:
    for name, character in work.cast.items():
        yield _make_credit(here, kind, work, name, "cast", character=character)
    for job, names in work.crew.items():
        for name in names:
            yield _make_credit(here, kind, work, name, job)


def _iterate_show_credits(here: Catalog, show: Show) -> Iterator[Credit]:
    yield from _iterate_work_credits(here, "tv", show)
    for name in show.created_by:
        yield _make_credit(here, "tv", show, name, "Creator")


def _iterate_episode_credits(here: Catalog, show: Show) -> Iterator[Credit]:
    """What only episodes say: their guests, directors, writers and own casts."""
    parts: dict[tuple[str, str], list[Episode]] = {}
    characters: dict[tuple[str, str], str] = {}
    for episode in (episode for season in get_seasons(here, show) for episode in season):
        for name, role, character in _iterate_people(episode):
            parts.setdefault((name, role), []).append(episode)
            characters.setdefault((name, role), character)
    for (name, role), episodes in parts.items():
        yield _make_credit(here, "tv", show, name, role, character=characters[name, role], episodes=episodes)


def _iterate_people(episode: Episode) -> Iterator[tuple[str, str, str]]:
    for role, cast in (("cast", episode.cast), ("guest", episode.guests)):
        for name, character in cast.items():
            yield name, role, character
    for job, names in (("Director", episode.directors), ("Writer", episode.writers)):
        for name in names:
            yield name, job, ""


def _make_credit(
    here: Catalog,
    kind: str,
    work: Movie | Show,
    name: str,
    role: str,
    *,
    character: str = "",
    episodes: Sequence[Episode] = (),
) -> Credit:
    person = here.store.person[name]
    number = make_credit_id(kind, work.id, person.id, role)
    return Credit(number, person, work, "Actor" if role in ("cast", "guest") else role, character, tuple(episodes))
