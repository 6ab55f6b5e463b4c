"""Render casts and crews of episodes and seasons.

An episode's cast is its own where the data names one, else the show's. Directors and writers are credited with their
episodes; as at the service a season's crew names them only where every episode of the season is theirs.
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
    """A cast in billing order, with the credit ids of the whole show's cast, or of its guests for the role `guest`."""
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
    """Actor to character in an episode, guests apart."""
    return episode.cast or show.cast


def render_episode_crew(store: Store, show: Show, episode: Episode) -> list[JSONObject]:
    """The directors and writers of an episode."""
    return [
        list_items.render_person(store.person[name]) | render_job("tv", show.id, store.person[name].id, title)
        for title, names in (("Director", episode.directors), ("Writer", episode.writers))
        for name in names
    ]


def render_guest_stars(store: Store, show: Show, episode: Episode) -> list[JSONObject]:
    """The guests of an episode; their `order` goes on after the cast's, as a guest is billed later."""
    first = len(get_cast(show, episode))
    return [guest | {"order": guest["order"] + first} for guest in render_cast(store, show, episode.guests, "guest")]


def merge_season_cast(show: Show, episodes: Sequence[Episode]) -> Mapping[str, str]:
    """Actor to character in a season, guests apart: of all its episodes, in the order in which they come."""
    found: dict[str, str] = {}
    for episode in episodes:
        for name, character in get_cast(show, episode).items():
            found.setdefault(name, character)
    return found


def render_season_crew(store: Store, show: Show, episodes: Sequence[Episode]) -> list[JSONObject]:
    """The show's crew as far as it is the season's, and who directed or wrote every episode of it."""
    alone = len(show.seasons) == 1
    whole = {title: names for title, names in show.crew.items() if alone or title not in EPISODE_JOBS}
    shared = {
        "Director": _names_in_all([episode.directors for episode in episodes]),
        "Writer": _names_in_all([episode.writers for episode in episodes]),
    }
    crew = {title: dict.fromkeys([*whole.get(title, ()), *shared.get(title, ())]) for title in {**whole, **shared}}
    return render_crew(store, show, {title: tuple(names) for title, names in crew.items()})


def _names_in_all(names: Sequence[Sequence[str]]) -> Sequence[str]:
    return [name for name in names[0] if all(name in others for others in names)]
