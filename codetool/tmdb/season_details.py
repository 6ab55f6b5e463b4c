"""Seasons and episodes as they stand alone, in a show and in a season.

Names, days and people are facts where the data knows them. An episode's votes and overview are made here from its
number, the same in every run, and the overview says so; an episode that has not aired has no votes.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from codetool.tmdb import episode_credits, list_items
from codetool.tmdb.air_dates import get_seasons, has_aired
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Episode, Show
from codetool.tmdb.synthetic import make_image_path, write_overview

MOTIFS = (
    "an old friend",
    "a locked door",
    "a wager",
    "a rumour",
    "a missing letter",
    "a late guest",
    "a broken promise",
    "a long night",
    "a false name",
    "a debt",
    "a storm",
    "a journey",
    "a secret",
    "a second chance",
    "an empty house",
    "a reunion",
)
"""What synthetic overviews are about; three of them for each episode."""
VOTERS = 40
"""Viewers who vote on a show for one who votes on an episode."""


def make_season_id(show: Show, season: int) -> int:
    """The replica's own id of a season."""
    return show.id * 100 + season


def make_episode_id(episode: Episode) -> int:
    """The replica's own id of an episode."""
    return episode.show * 100_000 + episode.season * 1_000 + episode.number


def make_still_stem(episode: Episode) -> str:
    """What the images of an episode are made from, besides the show's id."""
    return f"tv season {episode.season} episode {episode.number}"


def render_season(here: Catalog, show: Show, season: int) -> JSONObject:
    """A season in its show's details."""
    record = show.seasons[season - 1]
    return {
        "air_date": record.air_date,
        "episode_count": record.episodes,
        "id": make_season_id(show, season),
        "name": f"Season {season}",
        "overview": write_overview("season", show.genres, record.air_date),
        "poster_path": make_image_path(f"tv season {season}", show.id),
        "season_number": season,
        "vote_average": _average_votes(here, show, season),
    }


@lru_cache(maxsize=2048)  # a catalogue never changes, and nobody changes an answer
def render_season_details(here: Catalog, number: int, season: int) -> JSONObject:
    """A season of the show with that id, with all its episodes."""
    show = here.store.shows[number]
    item = render_season(here, show, season)
    del item["episode_count"]
    episodes = get_seasons(here, show)[season - 1]
    return item | {
        "_id": sha256(f"season {number} {season}".encode()).hexdigest()[:24],
        "episodes": [render_episode_details(here, show, episode) | {"show_id": number} for episode in episodes],
        "networks": [list_items.render_organisation(here.store.network[name]) for name in show.networks],
    }


def render_episode_details(here: Catalog, show: Show, episode: Episode) -> JSONObject:
    """An episode with its crew and its guests."""
    item = render_episode(here, show, episode) | {
        "crew": episode_credits.render_episode_crew(here.store, show, episode),
        "guest_stars": episode_credits.render_guest_stars(here.store, show, episode),
    }
    del item["show_id"]
    return item


def render_episode(here: Catalog, show: Show, episode: Episode) -> JSONObject:
    """An episode in its show's details."""
    average, count = _make_votes(here, show, episode)
    last = episode.number == show.seasons[episode.season - 1].episodes
    return {
        "air_date": episode.air_date or None,
        "episode_number": episode.number,
        "episode_type": "finale" if last else "standard",
        "id": make_episode_id(episode),
        "name": episode.name,
        "overview": _write_overview(episode),
        "production_code": "",
        "runtime": show.runtime,
        "season_number": episode.season,
        "show_id": show.id,
        "still_path": make_image_path(make_still_stem(episode), show.id),
        "vote_average": average,
        "vote_count": count,
    }


def _write_overview(episode: Episode) -> str:
    dice = _random_bytes(episode)
    left = list(MOTIFS)
    one, two, three = (left.pop(dice[place] % len(left)) for place in range(3))
    return f"Synthetic overview of season {episode.season}, episode {episode.number}: {one}, {two} and {three}."


def _make_votes(here: Catalog, show: Show, episode: Episode) -> tuple[float, int]:
    """Average, 0 to 10, and number of votes."""
    if not has_aired(here, show, episode):
        return 0.0, 0
    dice = _random_bytes(episode)
    shift = (int.from_bytes(dice[3:5], "big") % 1201 - 600) / 1000
    return round(min(10.0, max(0.5, show.vote_average + shift)), 3), 1 + show.vote_count // VOTERS + dice[5] % 32


def _average_votes(here: Catalog, show: Show, season: int) -> float:
    averages = [_make_votes(here, show, episode)[0] for episode in get_seasons(here, show)[season - 1]]
    voted = [average for average in averages if average]
    return round(sum(voted) / len(voted), 1) if voted else 0.0


def _random_bytes(episode: Episode) -> bytes:
    return sha256(f"episode {episode.show} {episode.season} {episode.number}".encode()).digest()
