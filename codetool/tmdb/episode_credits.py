"""Render casts and crews of episodes and seasons.

An episode without its own cast has the cast of the show. Directors and writers are credited with their episodes. As in
the real API, the crew of a season contains them only if they directed or wrote every episode of the season.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codetool.tmdb import list_items
from codetool.tmdb.credits import render_crew, render_job
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Show
from codetool.tmdb.store import Store
from codetool.tmdb.synthetic import make_credit_id

EPISODE_JOBS = frozenset({"Director", "Writer"})


def render_cast(store: Store, show: Show, cast: Mapping[str, str], role: str = "cast") -> list[JSONObject]:
    """Return a cast in billing order, with the credit ids of the show's cast (role `cast`) or guests (role `guest`)."""
    return [
        list_items.render_person(store.person[name])
        | {
            "character": character,
            "credit_id": make_credit_id("tv", show.id, store.person[name].id, role),
            "order": order,
        }
        for order, (name, character) in enumerate(cast.items())
    ]


def get_cast(show: Show, episode: Episode) -> Mapping[str, str]:
    """Return the actors of an episode with their characters, without guest stars."""
    return episode.cast or show.cast


def render_episode_crew(store: Store, show: Show, episode: Episode) -> list[JSONObject]:
    """Return the directors and writers of an episode."""
    return [
        list_items.render_person(store.person[name]) | render_job("tv", show.id, store.person[name].id, title)
        for title, names in (("Director", episode.directors), ("Writer", episode.writers))
        for name in names
    ]


def render_guest_stars(store: Store, show: Show, episode: Episode) -> list[JSONObject]:
    """Return the guest stars of an episode; their `order` continues after the cast, as they are billed later."""
    first = len(get_cast(show, episode))
    return [guest | {"order": guest["order"] + first} for guest in render_cast(store, show, episode.guests, "guest")]


def merge_season_cast(show: Show, episodes: Sequence[Episode]) -> Mapping[str, str]:
    """Return the actors of a season's episodes with their characters, without guests, in order of appearance."""
    merged: dict[str, str] = {}
    for episode in episodes:
        for name, character in get_cast(show, episode).items():
            merged.setdefault(name, character)
    return merged


def render_season_crew(store: Store, show: Show, episodes: Sequence[Episode]) -> list[JSONObject]:
    """Return the crew of a season: the show's crew, but only directors and writers of every episode."""
    is_only_season = len(show.seasons) == 1
    show_crew = {title: names for title, names in show.crew.items() if is_only_season or title not in EPISODE_JOBS}
    crew_of_all_episodes = {
        "Director": _names_in_all([episode.directors for episode in episodes]),
        "Writer": _names_in_all([episode.writers for episode in episodes]),
    }
    crew = {
        title: dict.fromkeys([*show_crew.get(title, ()), *crew_of_all_episodes.get(title, ())])
        for title in {**show_crew, **crew_of_all_episodes}
    }
    return render_crew(store, show, {title: tuple(names) for title, names in crew.items()})


def _names_in_all(names: Sequence[Sequence[str]]) -> Sequence[str]:
    return [name for name in names[0] if all(name in others for others in names)]
