"""Render seasons and episodes, as details and as entries of a show.

Names, dates and people come from the data if known. Votes and overview of an episode are synthetic, equal in every run,
and the overview says so. An episode that has not aired has no votes.
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
"""Topics of synthetic overviews; each overview has three."""
VOTERS = 40
"""Number of votes on a show per vote on one of its episodes."""


def make_season_id(show: Show, season: int) -> int:
    """Return the id of a season, which differs from that of the real service."""
    return show.id * 100 + season


def make_episode_id(episode: Episode) -> int:
    """Return the id of an episode, which differs from that of the real service."""
    return episode.show * 100_000 + episode.season * 1_000 + episode.number


def make_still_stem(episode: Episode) -> str:
    """Return the text that, with the show's id, determines the images of an episode."""
    return f"tv season {episode.season} episode {episode.number}"


def render_season(catalog: Catalog, show: Show, season: int) -> JSONObject:
    """Return the entry of a season in the details of its show."""
    record = show.seasons[season - 1]
    return {
        "air_date": record.air_date,
        "episode_count": record.episodes,
        "id": make_season_id(show, season),
        "name": f"Season {season}",
        "overview": write_overview("season", show.genres, record.air_date),
        "poster_path": make_image_path(f"tv season {season}", show.id),
        "season_number": season,
        "vote_average": _average_votes(catalog, show, season),
    }


@lru_cache(maxsize=2048)  # a catalog never changes, and callers do not modify the result
def render_season_details(catalog: Catalog, show_id: int, season: int) -> JSONObject:
    """Return the details of a season of a show, with all its episodes."""
    show = catalog.store.shows[show_id]
    item = render_season(catalog, show, season)
    del item["episode_count"]
    episodes = get_seasons(catalog, show)[season - 1]
    return item | {
        "_id": sha256(f"season {show_id} {season}".encode()).hexdigest()[:24],
        "episodes": [render_episode_details(catalog, show, episode) | {"show_id": show_id} for episode in episodes],
        "networks": [list_items.render_organisation(catalog.store.network[name]) for name in show.networks],
    }


def render_episode_details(catalog: Catalog, show: Show, episode: Episode) -> JSONObject:
    """Return the details of an episode, with its crew and guest stars."""
    item = render_episode(catalog, show, episode) | {
        "crew": episode_credits.render_episode_crew(catalog.store, show, episode),
        "guest_stars": episode_credits.render_guest_stars(catalog.store, show, episode),
    }
    del item["show_id"]
    return item


def render_episode(catalog: Catalog, show: Show, episode: Episode) -> JSONObject:
    """Return the entry of an episode in the details of its show."""
    average, count = _make_votes(catalog, show, episode)
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
    random_bytes = _compute_random_bytes(episode)
    motifs = list(MOTIFS)
    one, two, three = (motifs.pop(random_bytes[position] % len(motifs)) for position in range(3))
    return f"Synthetic overview of season {episode.season}, episode {episode.number}: {one}, {two} and {three}."


def _make_votes(catalog: Catalog, show: Show, episode: Episode) -> tuple[float, int]:
    """Return the average rating, 0 to 10, and the number of votes."""
    if not has_aired(catalog, show, episode):
        return 0.0, 0
    random_bytes = _compute_random_bytes(episode)
    offset = (int.from_bytes(random_bytes[3:5], "big") % 1201 - 600) / 1000
    count = 1 + show.vote_count // VOTERS + random_bytes[5] % 32
    return round(min(10.0, max(0.5, show.vote_average + offset)), 3), count


def _average_votes(catalog: Catalog, show: Show, season: int) -> float:
    averages = [_make_votes(catalog, show, episode)[0] for episode in get_seasons(catalog, show)[season - 1]]
    voted = [average for average in averages if average]
    return round(sum(voted) / len(voted), 1) if voted else 0.0


def _compute_random_bytes(episode: Episode) -> bytes:
    return sha256(f"episode {episode.show} {episode.season} {episode.number}".encode()).digest()
