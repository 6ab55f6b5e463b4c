"""Films, shows and episodes: numbers in range, and days that follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.data_checks.references import iterate_works
from codetool.tmdb.records import Episode, Movie, Show
from codetool.tmdb.store import Store

FIRST_FILM = "1888-01-01"
FILM_MINUTES = range(1, 601)
EPISODE_MINUTES = range(1, 301)
IDLE_YEARS = 6
"""Years without an episode after which no show is still said to return."""


def find_numbers_out_of_range(here: Catalog) -> Iterator[Finding]:
    """Runtimes, votes, popularity, money and numbers of episodes that cannot be."""
    for work in iterate_works(here.store):
        yield from (make_finding(work, wrong) for wrong in _describe_wrong_numbers(work, here.as_of.isoformat()))
    for person in here.store.people.values():
        if not person.popularity > 0:
            yield make_finding(person, f"popularity: {person.popularity} is not above 0")


def find_numbers_below_one(here: Catalog) -> Iterator[Finding]:
    """Ids that no route can be asked for."""
    store = here.store
    files = {
        "movies.jsonl": store.movies,
        "shows.jsonl": store.shows,
        "people.csv": store.people,
        "collections.csv": store.collections,
        "companies.csv": store.companies,
        "networks.csv": store.networks,
        "genres.csv": store.genres.values(),
        "keywords.csv": store.keywords.values(),
    }
    for file, ids in files.items():
        yield from (Finding(file, str(number), "an id is at least 1") for number in ids if number < 1)


def find_wrong_release_days(here: Catalog) -> Iterator[Finding]:
    """Films older than film, money earned before the release, and parts of a collection that came out together."""
    for movie in here.store.movies.values():
        days = sorted([movie.release_date, *movie.releases.values()])
        if days[0] < FIRST_FILM:
            yield make_finding(movie, f"released on {days[0]}, before there were films")
        if movie.revenue > 0 and days[0] > here.as_of.isoformat():
            yield make_finding(movie, f"has revenue, but comes out on {days[0]} only")
    for parts in here.store.parts.values():
        for before, part in pairwise(parts):
            if part.release_date == before.release_date:
                yield make_finding(part, f"came out on the same day as {before.id}, another part of its collection")


def find_unordered_seasons(here: Catalog) -> Iterator[Finding]:
    """Seasons that begin no later than the one before."""
    for show in here.store.shows.values():
        for number, (before, season) in enumerate(pairwise(show.seasons), start=2):
            if season.air_date <= before.air_date:
                yield make_finding(
                    show, f"season {number} begins on {season.air_date}, the one before on {before.air_date}"
                )


def find_wrong_last_days(here: Catalog) -> Iterator[Finding]:
    """Shows whose `last_air_date` contradicts the seasons, the episodes or the status."""
    today = here.as_of.isoformat()
    for show in here.store.shows.values():
        for wrong in (
            _describe_wrong_last_day(show, _dated_episodes(here.store, show), today),
            _describe_wrong_status(show, here.as_of.year, today),
        ):
            if wrong:
                yield make_finding(show, wrong)


def find_misplaced_episodes(here: Catalog) -> Iterator[Finding]:
    """Episodes of no season, beyond a season's count, or on a day that is not theirs."""
    for episode in here.store.episodes.values():
        show = here.store.shows.get(episode.show)
        if show is not None and (wrong := _describe_misplaced(show, episode)):
            yield make_finding(episode, wrong)


def find_unordered_episodes(here: Catalog) -> Iterator[Finding]:
    """Episodes that air before the episode of the season in front of them."""
    for show in here.store.shows.values():
        for before, episode in pairwise(_dated_episodes(here.store, show)):
            if episode.season == before.season and episode.air_date < before.air_date:
                yield make_finding(episode, f"airs on {episode.air_date}, episode {before.number} on {before.air_date}")


def _describe_wrong_numbers(work: Movie | Show, today: str) -> Iterator[str]:
    minutes = FILM_MINUTES if isinstance(work, Movie) else EPISODE_MINUTES
    if work.runtime not in minutes:
        yield f"runtime: {work.runtime} is not {minutes.start} to {minutes.stop - 1} minutes"
    out = (work.release_date if isinstance(work, Movie) else work.first_air_date) <= today
    voted = 0 < work.vote_average <= 10 and work.vote_count > 0
    if not voted and (out or work.vote_average or work.vote_count):
        yield f"vote_average: {work.vote_average} of {work.vote_count} votes; a work that is out has both, up to 10"
    if not work.popularity > 0:
        yield f"popularity: {work.popularity} is not above 0"
    if isinstance(work, Movie):
        yield from (
            f"{field}: {money} is below 0"
            for field, money in (("budget", work.budget), ("revenue", work.revenue))
            if money < 0
        )
    else:
        for number, season in enumerate(work.seasons, start=1):
            if season.episodes < 1:
                yield f"season {number} has {season.episodes} episodes"


def _describe_wrong_last_day(show: Show, episodes: Sequence[Episode], today: str) -> str:
    last = show.last_air_date
    begun = [season.air_date for season in show.seasons if season.air_date <= today]
    if not last:
        return f"last_air_date: empty, but it began on {begun[0]}" if begun else ""
    if begun and last < begun[-1]:
        return f"last_air_date: {last} is before the first day of season {len(begun)}, {begun[-1]}"
    shown = today if last <= today else "9999-12-31"  # until when the show's last day is to be the latest
    late = [episode for episode in episodes if last < episode.air_date <= shown]
    if late:
        found = late[-1]
        return f"last_air_date: {last}, but season {found.season} episode {found.number} aired on {found.air_date}"
    final = episodes[-1] if episodes else None
    ends = final and (final.season, final.number) == (len(show.seasons), show.seasons[-1].episodes)
    if final and ends and final.air_date < last:
        return f"last_air_date: {last}, but the last episode aired on {final.air_date}"
    return ""


def _describe_wrong_status(show: Show, year: int, today: str) -> str:
    if show.status in ("Ended", "Canceled") and max(show.last_air_date, show.seasons[-1].air_date) > today:
        return f"status: {show.status}, but it airs after {today}, the day that counts as today"
    if show.status == "Returning Series" and show.last_air_date and year - int(show.last_air_date[:4]) > IDLE_YEARS:
        return f"status: {show.status}, but nothing has aired since {show.last_air_date}"
    if show.status in ("Planned", "In Production", "Pilot") and show.first_air_date <= today:
        return f"status: {show.status}, but it began on {show.first_air_date}"
    return ""


def _describe_misplaced(show: Show, episode: Episode) -> str:
    if not 1 <= episode.season <= len(show.seasons):
        return f"{show.name} has {len(show.seasons)} seasons"
    season = show.seasons[episode.season - 1]
    if not 1 <= episode.number <= season.episodes:
        return f"the season has {season.episodes} episodes"
    if not episode.air_date:
        return ""
    if episode.number == 1 and episode.air_date != season.air_date:
        return f"airs on {episode.air_date}, its season begins on {season.air_date}"
    if episode.air_date < season.air_date:
        return f"airs on {episode.air_date}, before its season begins on {season.air_date}"
    following = show.seasons[episode.season : episode.season + 1]
    if following and episode.air_date >= following[0].air_date:
        return f"airs on {episode.air_date}, when season {episode.season + 1} has begun on {following[0].air_date}"
    return ""


def _dated_episodes(store: Store, show: Show) -> list[Episode]:
    """The show's episodes whose day is known, in order."""
    found = [episode for episode in store.episodes.values() if episode.show == show.id and episode.air_date]
    return sorted(found, key=lambda episode: (episode.season, episode.number))
