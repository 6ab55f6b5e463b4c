"""Check people's birth and death dates, and that their credits lie within their lifetime."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.data_checks.references import iterate_credited, iterate_records
from codetool.tmdb.records import Episode, Movie, Person, Show
from codetool.tmdb.store import Store

MAX_AGE = 115
"""Maximum age in years."""
MIN_LIFETIME = 5
"""Minimum lifetime in years of a person in the data."""
MAX_POSTHUMOUS_YEARS = 3
"""Maximum years between the death of an actor and the release of a work."""
MIN_DIRECTOR_AGE = 18
"""Minimum age in years of a director or of the creator of a show."""


def find_impossible_lives(catalog: Catalog) -> Iterator[Finding]:
    """Find deaths without or before a birth, too short or too long lives, and dates in the future."""
    for person in catalog.store.people.values():
        if wrong := _describe_wrong_life(person, catalog.as_of.isoformat()):
            yield make_finding(person, wrong)


def find_work_before_birth(catalog: Catalog) -> Iterator[Finding]:
    """Find credits in works released before the person was born, including authors of novels and characters."""
    for record, name, _, last in _iterate_dated_credits(catalog.store):
        born = _get_birthday(catalog.store, name)
        if born and born >= last:
            yield make_finding(record, f"{name} was born on {born}, it came out on {last}")


def find_acting_after_death(catalog: Catalog) -> Iterator[Finding]:
    """Find roles in works that began long after the actor's death; archive footage does not count as a role."""
    for record, name, first, _ in _iterate_dated_credits(catalog.store):
        person = catalog.store.person.get(name)
        acts = name in record.cast or (isinstance(record, Episode) and name in record.guests)
        if acts and person and person.deathday and _count_years(person.deathday, first) > MAX_POSTHUMOUS_YEARS:
            yield make_finding(record, f"{name} died on {person.deathday}, it came out on {first}")


def find_young_directors(catalog: Catalog) -> Iterator[Finding]:
    """Find directors and creators who were minors."""
    for record, name, _, last in _iterate_dated_credits(catalog.store):
        born = _get_birthday(catalog.store, name)
        if (
            name in _list_directors_and_creators(record)
            and born
            and born < last
            and (age := _count_years(born, last)) < MIN_DIRECTOR_AGE
        ):
            yield make_finding(record, f"{name} directed or created it at {age}")


def _describe_wrong_life(person: Person, today: str) -> str:
    born, died = person.birthday, person.deathday
    if max(born, died) > today:
        return f"birthday or deathday {max(born, died)} is after {today}, the day that counts as today"
    if not born:
        return f"deathday {died} without a birthday" if died else ""
    if died and died <= born:
        return f"deathday {died} is not after birthday {born}"
    years = _count_years(born, died or today)
    if years > MAX_AGE:
        return f"born on {born}, would be {years} years old: deathday is missing or wrong"
    return f"lived only {years} years" if died and years < MIN_LIFETIME else ""


def _iterate_dated_credits(store: Store) -> Iterator[tuple[Movie | Show | Episode, str, str, str]]:
    """Yield each credit once: record, name, and the first and last release date of the record."""
    for record in iterate_records(store):
        first, last = _get_release_span(record)
        if first:
            yield from ((record, name, first, last) for name in dict.fromkeys(iterate_credited(record)))


def _get_release_span(record: Movie | Show | Episode) -> tuple[str, str]:
    match record:
        case Movie():
            return record.release_date, record.release_date
        case Show():
            return record.first_air_date, record.last_air_date or record.first_air_date
        case Episode():
            return record.air_date, record.air_date


def _list_directors_and_creators(record: Movie | Show | Episode) -> tuple[str, ...]:
    match record:
        case Movie():
            return record.crew.get("Director", ())
        case Show():
            return (*record.crew.get("Director", ()), *record.created_by)
        case Episode():
            return record.directors


def _get_birthday(store: Store, name: str) -> str:
    person = store.person.get(name)
    return person.birthday if person else ""


def _count_years(start: str, end: str) -> int:
    """Return the number of completed years between two ISO dates."""
    start_day, end_day = date.fromisoformat(start), date.fromisoformat(end)
    return end_day.year - start_day.year - ((end_day.month, end_day.day) < (start_day.month, start_day.day))
