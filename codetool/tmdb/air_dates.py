"""Air dates of all episodes of each show, completed from the dates in the data.

An air date is known if a file states it or if it follows from the files. Files state the dates in `episodes.jsonl`, the
first day of each season, and the last day of a show, which belongs to the latest season that began by then. If two
episodes of a season aired on the same day, the episodes between them aired on that day too. All other air dates are
unknown.
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
"""Seasons of a show in order, each with all its episodes; an unknown `air_date` is empty."""


def get_seasons(catalog: Catalog, show: Show) -> Seasons:
    """Return the seasons of a show with all their episodes."""
    return _seasons_by_show(catalog)[show.id]


def find_last_aired(catalog: Catalog, show: Show) -> Episode | None:
    """Return the latest episode with a known air date up to the catalog's date; None if there is none."""
    return _last_and_next_by_show(catalog)[show.id][0]


def find_next_aired(catalog: Catalog, show: Show) -> Episode | None:
    """Return the first episode with a known air date after the catalog's date; None if there is none."""
    return _last_and_next_by_show(catalog)[show.id][1]


def has_aired(catalog: Catalog, show: Show, episode: Episode) -> bool:
    """Return whether an episode comes no later in its show than the latest one known to have aired."""
    last = find_last_aired(catalog, show)
    return last is not None and (episode.season, episode.number) <= (last.season, last.number)


@lru_cache(maxsize=32)  # a catalog never changes
def find_airing_shows(catalog: Catalog, days: int) -> Sequence[Show]:
    """Return the shows with an episode from the catalog's date to `days` days later, most popular first."""
    first, last = catalog.as_of.isoformat(), (catalog.as_of + timedelta(days=days)).isoformat()
    return [show for show in catalog.store.show_index.records if airs_between(catalog, show, first, last)]


def airs_between(catalog: Catalog, show: Show, first: str, last: str) -> bool:
    """Return whether an episode airs on a known day between `first` and `last`, inclusive ISO dates."""
    return any(first <= day <= last for day in _air_dates_by_show(catalog)[show.id])


@lru_cache(maxsize=8)
def _seasons_by_show(catalog: Catalog) -> Mapping[int, Seasons]:
    return {show.id: _build_seasons(catalog.store, show) for show in catalog.store.shows.values()}


@lru_cache(maxsize=8)
def _air_dates_by_show(catalog: Catalog) -> Mapping[int, Sequence[str]]:
    return {
        show_id: sorted({episode.air_date for season in seasons for episode in season} - {""})
        for show_id, seasons in _seasons_by_show(catalog).items()
    }


@lru_cache(maxsize=8)
def _last_and_next_by_show(catalog: Catalog) -> Mapping[int, tuple[Episode | None, Episode | None]]:
    return {
        show_id: _find_last_and_next(seasons, catalog.as_of.isoformat())
        for show_id, seasons in _seasons_by_show(catalog).items()
    }


def _find_last_and_next(seasons: Seasons, today: str) -> tuple[Episode | None, Episode | None]:
    dated = sorted(
        (episode for season in seasons for episode in season if episode.air_date),
        key=lambda episode: (episode.air_date, episode.season, episode.number),
    )
    past = [episode for episode in dated if episode.air_date <= today]
    future = [episode for episode in dated if episode.air_date > today]
    return past[-1] if past else None, future[0] if future else None


def _build_seasons(store: Store, show: Show) -> Seasons:
    seasons = [
        [_build_episode(store, show, season, number) for number in range(1, show.seasons[season - 1].episodes + 1)]
        for season in range(1, len(show.seasons) + 1)
    ]
    ended_season = _find_ended_season(show, seasons)
    if ended_season:
        seasons[ended_season - 1][-1] = replace(seasons[ended_season - 1][-1], air_date=show.last_air_date)
    return tuple(tuple(_fill_air_dates(season)) for season in seasons)


def _find_ended_season(show: Show, seasons: Sequence[Sequence[Episode]]) -> int:
    """Return the number of the season whose last episode aired on the show's last day; 0 if unknown.

    It is the latest season that began by then. The answer is 0 if its last episode has a stated date, if a later date
    is known in the season, or if another of its episodes aired on the show's last day and the show continues.
    """
    started = sum(season.air_date <= show.last_air_date for season in show.seasons)
    if not started or seasons[started - 1][-1].air_date:
        return 0
    latest = max((episode.air_date for episode in seasons[started - 1][1:]), default="")
    has_later_season_or_ended = started < len(show.seasons) or show.status in ("Ended", "Canceled")
    return started if latest < show.last_air_date or (has_later_season_or_ended and latest == show.last_air_date) else 0


def _build_episode(store: Store, show: Show, season: int, number: int) -> Episode:
    episode = store.episodes.get((show.id, season, number))
    if episode is None:
        episode = Episode(show=show.id, season=season, number=number, name=f"Episode {number}", air_date="")
    if number == 1 and not episode.air_date:
        return replace(episode, air_date=show.seasons[season - 1].air_date)
    return episode


def _fill_air_dates(season: Sequence[Episode]) -> list[Episode]:
    """Return the episodes with the date filled in for those between two that aired on the same day."""
    dated = [index for index, episode in enumerate(season) if episode.air_date]
    days = {index: season[index].air_date for index in dated}
    for start, end in zip(dated, dated[1:], strict=False):
        if days[start] == days[end]:
            days |= dict.fromkeys(range(start, end), days[start])
    return [replace(episode, air_date=days.get(index, "")) for index, episode in enumerate(season)]
