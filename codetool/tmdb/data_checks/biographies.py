"""People: lives that can be lived, and work that was done in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.data_checks.references import iterate_credited, iterate_records
from codetool.tmdb.records import Episode, Movie, Person, Show
from codetool.tmdb.store import Store

MAX_AGE = 115
"""Years that nobody here outlives."""
MIN_LIFETIME = 5
"""Years of a life that came to be known."""
MAX_POSTHUMOUS_YEARS = 3
"""Years after a death in which the last work of an actor still comes out."""
MIN_DIRECTOR_AGE = 18
"""Years at which somebody directs, or creates a show, at the earliest."""


def find_impossible_lives(here: Catalog) -> Iterator[Finding]:
    """Deaths without or before a birth, lives too short or too long, and days that have not come yet."""
    for person in here.store.people.values():
        if wrong := _describe_wrong_life(person, here.as_of.isoformat()):
            yield make_finding(person, wrong)


def find_work_before_birth(here: Catalog) -> Iterator[Finding]:
    """Credits in works that came out before their people were born; a novel or its characters need an author too."""
    for record, name, _, last in _iterate_credits(here.store):
        born = _birthday(here.store, name)
        if born and born >= last:
            yield make_finding(record, f"{name} was born on {born}, it came out on {last}")


def find_acting_after_death(here: Catalog) -> Iterator[Finding]:
    """Roles in works that began long after the actor's death; archive footage is no role here."""
    for record, name, first, _ in _iterate_credits(here.store):
        person = here.store.person.get(name)
        acts = name in record.cast or (isinstance(record, Episode) and name in record.guests)
        if acts and person and person.deathday and _years_between(person.deathday, first) > MAX_POSTHUMOUS_YEARS:
            yield make_finding(record, f"{name} died on {person.deathday}, it came out on {first}")


def find_young_directors(here: Catalog) -> Iterator[Finding]:
    """Directors and creators who were children."""
    for record, name, _, last in _iterate_credits(here.store):
        born = _birthday(here.store, name)
        if (
            name in _directors_and_creators(record)
            and born
            and born < last
            and (age := _years_between(born, last)) < MIN_DIRECTOR_AGE
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
    years = _years_between(born, died or today)
    if years > MAX_AGE:
        return f"born on {born}, would be {years} years old: deathday is missing or wrong"
    return f"lived only {years} years" if died and years < MIN_LIFETIME else ""


def _iterate_credits(store: Store) -> Iterator[tuple[Movie | Show | Episode, str, str, str]]:
    """Each credit once: the record, the name, and the first and last day on which the work came out."""
    for record in iterate_records(store):
        first, last = _release_span(record)
        if first:
            yield from ((record, name, first, last) for name in dict.fromkeys(iterate_credited(record)))


def _release_span(record: Movie | Show | Episode) -> tuple[str, str]:
    match record:
        case Movie():
            return record.release_date, record.release_date
        case Show():
            return record.first_air_date, record.last_air_date or record.first_air_date
        case Episode():
            return record.air_date, record.air_date


def _directors_and_creators(record: Movie | Show | Episode) -> tuple[str, ...]:
    match record:
        case Movie():
            return record.crew.get("Director", ())
        case Show():
            return (*record.crew.get("Director", ()), *record.created_by)
        case Episode():
            return record.directors


def _birthday(store: Store, name: str) -> str:
    person = store.person.get(name)
    return person.birthday if person else ""


def _years_between(start: str, end: str) -> int:
    """Whole years from one ISO day to a later one, as ages are counted."""
    begun, ended = date.fromisoformat(start), date.fromisoformat(end)
    return ended.year - begun.year - ((ended.month, ended.day) < (begun.month, begun.day))
