"""The shows of a person: roles, guest parts and jobs, each with the number of episodes it is for.

A role of the show's cast counts the episodes that have no cast of their own. A director or writer whom only the whole
show names, and a lead of the show whom no episode names, count the known episodes, at least one; every other job
counts the whole show.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codetool.tmdb import list_items
from codetool.tmdb.air_dates import get_seasons
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.credits import render_job
from codetool.tmdb.episode_credits import EPISODE_JOBS, get_cast
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Person, Show
from codetool.tmdb.synthetic import make_credit_id


@dataclass(frozen=True, slots=True)
class Part:
    """What a person did in a show: `cast`, `guest` or a job."""

    show: Show
    role: str
    character: str
    """All characters of a role, joined by ` / `; empty for a job."""
    episodes: int
    first: str
    """Air date of the first episode that it is for."""


def render_tv_credits(here: Catalog, record: Person, language: str = "") -> JSONObject:
    """A person's shows, most popular first: roles in `cast`, one entry for each job in `crew`."""
    parts = _parts_by_person(here).get(record.name, ())
    return {
        "id": record.id,
        "cast": [_render_role(here, record, part, language) for part in parts if part.role in ("cast", "guest")],
        "crew": [_render_job(here, record, part, language) for part in parts if part.role not in ("cast", "guest")],
    }


def _render_role(here: Catalog, record: Person, part: Part, language: str) -> JSONObject:
    return list_items.render_show(here.store, part.show, language) | {
        "character": part.character,
        "credit_id": make_credit_id("tv", part.show.id, record.id, part.role),
        "episode_count": part.episodes,
        "first_credit_air_date": part.first,
    }


def _render_job(here: Catalog, record: Person, part: Part, language: str) -> JSONObject:
    title = render_job("tv", part.show.id, record.id, part.role)
    return (
        list_items.render_show(here.store, part.show, language)
        | title
        | {
            "episode_count": part.episodes,
            "first_credit_air_date": part.first,
        }
    )


@lru_cache(maxsize=8)  # a catalogue never changes
def _parts_by_person(here: Catalog) -> Mapping[str, Sequence[Part]]:
    found: defaultdict[str, list[Part]] = defaultdict(list)
    for show in here.store.show_index.records:
        for name, part in _iterate_parts(here, show):
            found[name].append(part)
    return found


def _iterate_parts(here: Catalog, show: Show) -> Iterator[tuple[str, Part]]:
    episodes = [episode for season in get_seasons(here, show) for episode in season]
    characters: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for name, character in show.cast.items():
        characters[name, "cast"][character] = None
    for episode in episodes:
        for name, role, character in _iterate_people(show, episode):
            counts[name, role] += 1
            if episode.air_date:
                first.setdefault((name, role), episode.air_date)
            if character:
                characters[name, role][character] = None
    for name in show.cast:
        counts[name, "cast"] = max(1, counts[name, "cast"])
    for role, names in {"Creator": show.created_by, **show.crew}.items():
        for name in names:
            counts[name, role] = max(1, counts[name, role]) if role in EPISODE_JOBS else len(episodes)
            if role not in EPISODE_JOBS:
                first.pop((name, role), None)
    for (name, role), count in counts.items():
        day = first.get((name, role), show.first_air_date)
        yield name, Part(show, role, " / ".join(characters[name, role]), count, day)


def _iterate_people(show: Show, episode: Episode) -> Iterator[tuple[str, str, str]]:
    for name, character in get_cast(show, episode).items():
        yield name, "cast", character
    for name, character in episode.guests.items():
        yield name, "guest", character
    for name in episode.directors:
        yield name, "Director", ""
    for name in episode.writers:
        yield name, "Writer", ""
