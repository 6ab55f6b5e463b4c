"""Check texts: known codes, jobs and states, names without surrounding spaces, and valid homepages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.credits import DEPARTMENTS
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.data_checks.references import iterate_records, iterate_works, names_by_file
from codetool.tmdb.iso_names import COUNTRIES, LANGUAGES
from codetool.tmdb.records import Episode, Movie, Organisation, Show
from codetool.tmdb.releases import CERTIFICATIONS
from codetool.tmdb.store import Store

STATUSES = ("Returning Series", "Planned", "In Production", "Pilot", "Ended", "Canceled")
TYPES = ("Scripted", "Miniseries", "Reality", "Documentary", "News", "Talk Show", "Video")
GENDERS = (0, 1, 2, 3)
DEPARTMENT_NAMES = ("Acting", "Crew", *dict.fromkeys(DEPARTMENTS.values()))


def find_unknown_codes(catalog: Catalog) -> Iterator[Finding]:
    """Find countries, languages, certifications, statuses, types and jobs that the replica does not know."""
    for work in iterate_works(catalog.store):
        yield from (make_finding(work, wrong) for wrong in _describe_unknown_codes(work))
    for file, row in _iterate_organisations(catalog.store):
        if row.origin_country and row.origin_country not in COUNTRIES:
            yield Finding(file, f"{row.id} {row.name}", f"country {row.origin_country!r} is not in iso_names.py")
    for person in catalog.store.people.values():
        if person.gender not in GENDERS:
            yield make_finding(person, f"gender: {person.gender} is none of {_join(GENDERS)}")
        if person.department not in DEPARTMENT_NAMES:
            yield make_finding(person, f"department: {person.department!r} is none of {_join(DEPARTMENT_NAMES)}")


def find_untidy_texts(catalog: Catalog) -> Iterator[Finding]:
    """Find names and characters that are empty or have surrounding spaces."""
    for file, names in names_by_file(catalog.store).items():
        yield from (
            Finding(file, repr(name), "is empty or has spaces round it") for name in names if not _is_tidy(name)
        )
    for record in iterate_records(catalog.store):
        name = record.title if isinstance(record, Movie) else record.name
        texts = [name, *record.cast.values(), *(record.guests.values() if isinstance(record, Episode) else ())]
        yield from (
            make_finding(record, f"{text!r} is empty or has spaces round it") for text in texts if not _is_tidy(text)
        )


def find_wrong_homepages(catalog: Catalog) -> Iterator[Finding]:
    """Find homepages that are not http(s) URLs."""
    for show in catalog.store.shows.values():
        if wrong := _describe_wrong_homepage(show.homepage):
            yield make_finding(show, wrong)
    for file, row in _iterate_organisations(catalog.store):
        if wrong := _describe_wrong_homepage(row.homepage):
            yield Finding(file, f"{row.id} {row.name}", wrong)


def _describe_unknown_codes(work: Movie | Show) -> Iterator[str]:
    releases = work.releases if isinstance(work, Movie) else ()
    for country in (*work.countries, *releases):
        if country not in COUNTRIES:
            yield f"country {country!r} is not in iso_names.py"
    if work.language not in LANGUAGES:
        yield f"language {work.language!r} is not in iso_names.py"
    for job in work.crew:
        if job not in DEPARTMENTS:
            yield f"job {job!r} is not in credits.py"
    if isinstance(work, Movie):
        if work.certification and work.certification not in CERTIFICATIONS:
            yield f"certification: {work.certification!r} is none of {_join(CERTIFICATIONS)}"
        return
    if work.status not in STATUSES:
        yield f"status: {work.status!r} is none of {_join(STATUSES)}"
    if work.type not in TYPES:
        yield f"type: {work.type!r} is none of {_join(TYPES)}"


def _iterate_organisations(store: Store) -> Iterator[tuple[str, Organisation]]:
    yield from (("companies.csv", row) for row in store.companies.values())
    yield from (("networks.csv", row) for row in store.networks.values())


def _describe_wrong_homepage(text: str) -> str:
    is_valid = not text or text.startswith(("https://", "http://"))
    return "" if is_valid else f"homepage: {text!r} begins with neither https:// nor http://"


def _is_tidy(text: str) -> bool:
    return bool(text) and text == text.strip()


def _join(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
