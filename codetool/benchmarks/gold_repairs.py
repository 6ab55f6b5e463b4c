"""Corrected gold paths for RestBench-TMDB queries whose published path cannot be right; used with `gold: repaired`.

If a query names two things, the path completes the first before it starts the second, as in the data set itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOVIE = "GET /movie/{movie_id}"
MOVIE_CREDITS = "GET /movie/{movie_id}/credits"
PERSON = "GET /person/{person_id}"
PERSON_MOVIES = "GET /person/{person_id}/movie_credits"
SEARCH_COLLECTION = "GET /search/collection"
SEARCH_MOVIE = "GET /search/movie"
SEARCH_PERSON = "GET /search/person"
SEARCH_TV = "GET /search/tv"
SEASON = "GET /tv/{tv_id}/season/{season_number}"
EPISODE_CREDITS = "GET /tv/{tv_id}/season/{season_number}/episode/{episode_number}/credits"
TV_CREDITS = "GET /tv/{tv_id}/credits"


@dataclass(frozen=True)
class GoldRepair:
    """A gold path that can be followed, and the reason why the published one cannot."""

    gold: tuple[str, ...]
    reason: str


GOLD_REPAIRS: Mapping[int, GoldRepair] = {
    30: GoldRepair(
        ("GET /search/company", "GET /company/{company_id}/images"), "the company's id has to be found first"
    ),
    40: GoldRepair((SEARCH_TV, SEASON), "a season's credits seldom hold its directors; its episodes' crews do"),
    70: GoldRepair((SEARCH_TV, EPISODE_CREDITS, "GET /person/{person_id}/images"), "an anthology's leads change"),
    76: GoldRepair((SEARCH_TV, EPISODE_CREDITS), "one episode's director is asked for"),
    87: GoldRepair(
        (SEARCH_COLLECTION, "GET /collection/{collection_id}", MOVIE, "GET /company/{company_id}"),
        "collections name no companies, their films do",
    ),
    88: GoldRepair((SEARCH_MOVIE, MOVIE) * 2, "two films"),
    89: GoldRepair((SEARCH_TV, SEARCH_MOVIE, MOVIE_CREDITS, SEASON), "as 40"),
    92: GoldRepair((SEARCH_PERSON, PERSON_MOVIES) * 2, "two people"),
    93: GoldRepair((SEARCH_MOVIE, MOVIE_CREDITS, "GET /person/{person_id}/tv_credits"), "the director has to be found"),
    96: GoldRepair((SEARCH_TV, TV_CREDITS), "a TV drama, not a film"),
    97: GoldRepair((SEARCH_MOVIE, MOVIE_CREDITS, PERSON, SEARCH_TV, TV_CREDITS, PERSON), "two birthdays are needed"),
    98: GoldRepair((SEARCH_PERSON, PERSON_MOVIES), "the path names its variable wrongly"),
}
