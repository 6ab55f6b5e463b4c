"""Shows of a person: roles, guest roles and jobs, each with its number of episodes.

A role in the show's cast counts the episodes without their own cast. A role of the show's cast, a director or a writer
counts at least one episode, even if no episode credits the person. Every other job counts all episodes of the show.
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
    """A role or job of a person in a show."""

    show: Show
    role: str
    """`cast`, `guest` or the job."""
    character: str
    """All characters of a role, joined by ` / `; empty for a job."""
    episodes: int
    first: str
    """Air date of the first episode with this role or job."""


def render_tv_credits(catalog: Catalog, record: Person, language: str = "") -> JSONObject:
    """Return the shows of a person, most popular first: roles in `cast`, and one entry per job in `crew`."""
    parts = _index_parts(catalog).get(record.name, ())
    return {
        "id": record.id,
        "cast": [_render_role(catalog, record, part, language) for part in parts if part.role in ("cast", "guest")],
        "crew": [_render_job(catalog, record, part, language) for part in parts if part.role not in ("cast", "guest")],
    }


def _render_role(catalog: Catalog, record: Person, part: Part, language: str) -> JSONObject:
    return list_items.render_show(catalog.store, part.show, language) | {
        "character": part.character,
        "credit_id": make_credit_id("tv", part.show.id, record.id, part.role),
        "episode_count": part.episodes,
        "first_credit_air_date": part.first,
    }


def _render_job(catalog: Catalog, record: Person, part: Part, language: str) -> JSONObject:
    title = render_job("tv", part.show.id, record.id, part.role)
    return (
        list_items.render_show(catalog.store, part.show, language)
        | title
        | {
            "episode_count": part.episodes,
            "first_credit_air_date": part.first,
        }
    )


@lru_cache(maxsize=8)  # a catalog never changes
def _index_parts(catalog: Catalog) -> Mapping[str, Sequence[Part]]:
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    for show in catalog.store.show_index.records:
        for name, part in _iterate_parts(catalog, show):
            parts[name].append(part)
    return parts


def _iterate_parts(catalog: Catalog, show: Show) -> Iterator[tuple[str, Part]]:
    episodes = [episode for season in get_seasons(catalog, show) for episode in season]
    characters: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for name, character in show.cast.items():
        characters[name, "cast"][character] = None
    for episode in episodes:
        for name, role, character in _iterate_episode_people(show, episode):
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


def _iterate_episode_people(show: Show, episode: Episode) -> Iterator[tuple[str, str, str]]:
    for name, character in get_cast(show, episode).items():
        yield name, "cast", character
    for name, character in episode.guests.items():
        yield name, "guest", character
    for name in episode.directors:
        yield name, "Director", ""
    for name in episode.writers:
        yield name, "Writer", ""
