"""Gold paths of RestBench-TMDB that cannot be right as published, and what stands for them with `gold: repaired`.

Where a query names two things, each is looked up to its end before the next, the order in which the data set itself
lists such paths.
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
class Repair:
    """A gold path that can be followed, and why the published one cannot."""

    gold: tuple[str, ...]
    reason: str


REPAIRS: Mapping[int, Repair] = {
    30: Repair(("GET /search/company", "GET /company/{company_id}/images"), "the company's id has to be found first"),
    40: Repair((SEARCH_TV, SEASON), "a season's credits seldom hold its directors; its episodes' crews do"),
    70: Repair((SEARCH_TV, EPISODE_CREDITS, "GET /person/{person_id}/images"), "an anthology's leads change"),
    76: Repair((SEARCH_TV, EPISODE_CREDITS), "one episode's director is asked for"),
    87: Repair(
        (SEARCH_COLLECTION, "GET /collection/{collection_id}", MOVIE, "GET /company/{company_id}"),
        "collections name no companies, their films do",
    ),
    88: Repair((SEARCH_MOVIE, MOVIE) * 2, "two films"),
    89: Repair((SEARCH_TV, SEARCH_MOVIE, MOVIE_CREDITS, SEASON), "as 40"),
    92: Repair((SEARCH_PERSON, PERSON_MOVIES) * 2, "two people"),
    93: Repair((SEARCH_MOVIE, MOVIE_CREDITS, "GET /person/{person_id}/tv_credits"), "the director has to be found"),
    96: Repair((SEARCH_TV, TV_CREDITS), "a TV drama, not a film"),
    97: Repair((SEARCH_MOVIE, MOVIE_CREDITS, PERSON, SEARCH_TV, TV_CREDITS, PERSON), "two birthdays are needed"),
    98: Repair((SEARCH_PERSON, PERSON_MOVIES), "the path names its variable wrongly"),
}
