"""Check films, shows and episodes: numbers in range, and dates in order."""

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
"""Years without an episode after which a show must not have the status Returning Series."""


def find_numbers_out_of_range(catalog: Catalog) -> Iterator[Finding]:
    """Find impossible runtimes, votes, popularity, amounts of money and numbers of episodes."""
    for work in iterate_works(catalog.store):
        yield from (make_finding(work, wrong) for wrong in _describe_wrong_numbers(work, catalog.as_of.isoformat()))
    for person in catalog.store.people.values():
        if not person.popularity > 0:
            yield make_finding(person, f"popularity: {person.popularity} is not above 0")


def find_numbers_below_one(catalog: Catalog) -> Iterator[Finding]:
    """Find ids below 1, which no route accepts."""
    store = catalog.store
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


def find_wrong_release_days(catalog: Catalog) -> Iterator[Finding]:
    """Find films before 1888, revenue before the release, and parts of a collection with equal release dates."""
    for movie in catalog.store.movies.values():
        days = sorted([movie.release_date, *movie.releases.values()])
        if days[0] < FIRST_FILM:
            yield make_finding(movie, f"released on {days[0]}, before there were films")
        if movie.revenue > 0 and days[0] > catalog.as_of.isoformat():
            yield make_finding(movie, f"has revenue, but comes out on {days[0]} only")
    for parts in catalog.store.parts.values():
        for before, part in pairwise(parts):
            if part.release_date == before.release_date:
                yield make_finding(part, f"came out on the same day as {before.id}, another part of its collection")


def find_unordered_seasons(catalog: Catalog) -> Iterator[Finding]:
    """Find seasons that do not begin after the previous season."""
    for show in catalog.store.shows.values():
        for number, (before, season) in enumerate(pairwise(show.seasons), start=2):
            if season.air_date <= before.air_date:
                yield make_finding(
                    show, f"season {number} begins on {season.air_date}, the one before on {before.air_date}"
                )


def find_wrong_last_days(catalog: Catalog) -> Iterator[Finding]:
    """Find shows whose `last_air_date` contradicts the seasons, the episodes or the status."""
    today = catalog.as_of.isoformat()
    for show in catalog.store.shows.values():
        for wrong in (
            _describe_wrong_last_day(show, _list_dated_episodes(catalog.store, show), today),
            _describe_wrong_status(show, catalog.as_of.year, today),
        ):
            if wrong:
                yield make_finding(show, wrong)


def find_misplaced_episodes(catalog: Catalog) -> Iterator[Finding]:
    """Find episodes outside their season: unknown season, too high number, or a date outside the season."""
    for episode in catalog.store.episodes.values():
        show = catalog.store.shows.get(episode.show)
        if show is not None and (wrong := _describe_misplaced(show, episode)):
            yield make_finding(episode, wrong)


def find_unordered_episodes(catalog: Catalog) -> Iterator[Finding]:
    """Find episodes that air before the previous episode of their season."""
    for show in catalog.store.shows.values():
        for before, episode in pairwise(_list_dated_episodes(catalog.store, show)):
            if episode.season == before.season and episode.air_date < before.air_date:
                yield make_finding(episode, f"airs on {episode.air_date}, episode {before.number} on {before.air_date}")


def _describe_wrong_numbers(work: Movie | Show, today: str) -> Iterator[str]:
    minutes = FILM_MINUTES if isinstance(work, Movie) else EPISODE_MINUTES
    if work.runtime not in minutes:
        yield f"runtime: {work.runtime} is not {minutes.start} to {minutes.stop - 1} minutes"
    is_out = (work.release_date if isinstance(work, Movie) else work.first_air_date) <= today
    has_votes = 0 < work.vote_average <= 10 and work.vote_count > 0
    if not has_votes and (is_out or work.vote_average or work.vote_count):
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
    started = [season.air_date for season in show.seasons if season.air_date <= today]
    if not last:
        return f"last_air_date: empty, but it began on {started[0]}" if started else ""
    if started and last < started[-1]:
        return f"last_air_date: {last} is before the first day of season {len(started)}, {started[-1]}"
    until = today if last <= today else "9999-12-31"  # up to this date no episode may air after the show's last day
    late = [episode for episode in episodes if last < episode.air_date <= until]
    if late:
        episode = late[-1]
        return (
            f"last_air_date: {last}, but season {episode.season} episode {episode.number} aired on {episode.air_date}"
        )
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


def _list_dated_episodes(store: Store, show: Show) -> list[Episode]:
    """Return the episodes of a show with a known air date, in order."""
    episodes = [episode for episode in store.episodes.values() if episode.show == show.id and episode.air_date]
    return sorted(episodes, key=lambda episode: (episode.season, episode.number))
