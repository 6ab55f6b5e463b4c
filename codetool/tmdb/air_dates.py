"""Air dates of all episodes of each show, completed from the dates in the data.

A known day is one that a file states (`episodes.jsonl`, a season's first day, a show's last day, which is that of the
latest season begun by then) or that two equal stated days of a season leave no choice about. All other episodes air on
a day that nobody here knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Episode, Show
from codetool.tmdb.store import Store

Seasons = Sequence[Sequence[Episode]]
"""A show's seasons in order, each with all its episodes; `air_date` is empty where it is unknown."""


def get_seasons(here: Catalog, show: Show) -> Seasons:
    """The show's seasons with every episode of each."""
    return _seasons_by_show(here)[show.id]


def find_last_aired(here: Catalog, show: Show) -> Episode | None:
    """The latest episode that is known to have aired by the catalogue's day."""
    return _neighbours_by_show(here)[show.id][0]


def find_next_aired(here: Catalog, show: Show) -> Episode | None:
    """The first episode that is known to air after the catalogue's day."""
    return _neighbours_by_show(here)[show.id][1]


def has_aired(here: Catalog, show: Show, episode: Episode) -> bool:
    """Whether an episode comes no later in its show than the latest that is known to have aired."""
    last = find_last_aired(here, show)
    return last is not None and (episode.season, episode.number) <= (last.season, last.number)


@lru_cache(maxsize=32)  # a catalogue never changes
def find_airing_shows(here: Catalog, days: int) -> Sequence[Show]:
    """The shows with an episode from the catalogue's day to `days` later, most popular first."""
    first, last = here.as_of.isoformat(), (here.as_of + timedelta(days=days)).isoformat()
    return [show for show in here.store.show_index.records if airs_between(here, show, first, last)]


def airs_between(here: Catalog, show: Show, first: str, last: str) -> bool:
    """Whether an episode airs on a known day from `first` to `last`, both ISO."""
    return any(first <= day <= last for day in _air_dates_by_show(here)[show.id])


@lru_cache(maxsize=8)
def _seasons_by_show(here: Catalog) -> Mapping[int, Seasons]:
    return {show.id: _build_seasons(here.store, show) for show in here.store.shows.values()}


@lru_cache(maxsize=8)
def _air_dates_by_show(here: Catalog) -> Mapping[int, Sequence[str]]:
    return {
        number: sorted({episode.air_date for season in found for episode in season} - {""})
        for number, found in _seasons_by_show(here).items()
    }


@lru_cache(maxsize=8)
def _neighbours_by_show(here: Catalog) -> Mapping[int, tuple[Episode | None, Episode | None]]:
    return {number: _find_neighbours(found, here.as_of.isoformat()) for number, found in _seasons_by_show(here).items()}


def _find_neighbours(found: Seasons, today: str) -> tuple[Episode | None, Episode | None]:
    known = sorted(
        (episode for season in found for episode in season if episode.air_date),
        key=lambda episode: (episode.air_date, episode.season, episode.number),
    )
    past = [episode for episode in known if episode.air_date <= today]
    future = [episode for episode in known if episode.air_date > today]
    return past[-1] if past else None, future[0] if future else None


def _build_seasons(store: Store, show: Show) -> Seasons:
    found = [
        [_build_episode(store, show, season, number) for number in range(1, show.seasons[season - 1].episodes + 1)]
        for season in range(1, len(show.seasons) + 1)
    ]
    ended = _find_ended_season(show, found)
    if ended:
        found[ended - 1][-1] = replace(found[ended - 1][-1], air_date=show.last_air_date)
    return tuple(tuple(_fill_air_dates(season)) for season in found)


def _find_ended_season(show: Show, found: Sequence[Sequence[Episode]]) -> int:
    """The number of the season whose last episode aired on the show's last day, or 0.

    It is the last one begun by then, unless that episode has a day of its own, a later day is known in the season, or
    another of its episodes aired on the last day while the show goes on.
    """
    begun = sum(season.air_date <= show.last_air_date for season in show.seasons)
    if not begun or found[begun - 1][-1].air_date:
        return 0
    latest = max((episode.air_date for episode in found[begun - 1][1:]), default="")
    over = begun < len(show.seasons) or show.status in ("Ended", "Canceled")
    return begun if latest < show.last_air_date or (over and latest == show.last_air_date) else 0


def _build_episode(store: Store, show: Show, season: int, number: int) -> Episode:
    known = store.episodes.get((show.id, season, number))
    if known is None:
        known = Episode(show=show.id, season=season, number=number, name=f"Episode {number}", air_date="")
    if number == 1 and not known.air_date:
        return replace(known, air_date=show.seasons[season - 1].air_date)
    return known


def _fill_air_dates(season: Sequence[Episode]) -> list[Episode]:
    """The season's episodes; those between two that aired on one day aired on that day too."""
    dated = [place for place, episode in enumerate(season) if episode.air_date]
    days = {place: season[place].air_date for place in dated}
    for start, end in zip(dated, dated[1:], strict=False):
        if days[start] == days[end]:
            days |= dict.fromkeys(range(start, end), days[start])
    return [replace(episode, air_date=days.get(place, "")) for place, episode in enumerate(season)]
