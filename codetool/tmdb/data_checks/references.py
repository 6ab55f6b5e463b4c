"""Check references: each refers to an existing record, each record is used, and no record exists twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.records import Episode, Movie, Show
from codetool.tmdb.search_index import split_words
from codetool.tmdb.store import Store

Record = Movie | Show | Episode


def find_unknown_names(catalog: Catalog) -> Iterator[Finding]:
    """Find names of people, companies, networks, genres and keywords, and ids of collections, that do not exist."""
    for record in iterate_records(catalog.store):
        for file, existing, references in _iterate_references(catalog.store, record):
            for name in dict.fromkeys(references):
                if name not in existing:
                    yield make_finding(record, f"{name!r} is not in {file}")


def find_unused_records(catalog: Catalog) -> Iterator[Finding]:
    """Find unused people, companies, networks and keywords; for collections see `find_small_collections`."""
    used: defaultdict[str, set[str | int]] = defaultdict(set)
    for record in iterate_records(catalog.store):
        for file, _, references in _iterate_references(catalog.store, record):
            used[file].update(references)
    for file, names in names_by_file(catalog.store).items():
        if file != "collections.csv":  # a film refers to it by its id
            yield from (Finding(file, name, "nothing names it") for name in names if name not in used[file])


def find_accent_variants(catalog: Catalog) -> Iterator[Finding]:
    """Find names in one file that differ only by accents, case, punctuation or an article: probably duplicates."""
    for file, names in names_by_file(catalog.store).items():
        first_names: dict[str, str] = {}
        for name in names:
            normalized = "".join(split_words(name))
            if normalized and first_names.setdefault(normalized, name) != name:
                yield Finding(file, name, f"is likely the same as {first_names[normalized]!r}")


def find_same_title_and_year(catalog: Catalog) -> Iterator[Finding]:
    """Find films, or shows, with equal name and year: probably duplicates."""
    first_works: dict[tuple[type, str, str], Movie | Show] = {}
    for work in iterate_works(catalog.store):
        name, day = (work.title, work.release_date) if isinstance(work, Movie) else (work.name, work.first_air_date)
        first = first_works.setdefault((type(work), "".join(split_words(name)), day[:4]), work)
        if first is not work:
            yield make_finding(work, f"is likely the same as {first.id}, of the same name and year")


def find_listed_twice(catalog: Catalog) -> Iterator[Finding]:
    """Find names that occur twice in a list of a record: a person in a job, a genre, company, keyword or country."""
    for record in iterate_records(catalog.store):
        for field, names in _iterate_lists(record):
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield make_finding(record, f"{field} lists {name!r} twice")


def find_small_collections(catalog: Catalog) -> Iterator[Finding]:
    """Find collections of fewer than two films."""
    for number, collection in catalog.store.collections.items():
        if (size := len(catalog.store.parts.get(number, ()))) < 2:
            wrong = f"has {size} film{'' if size == 1 else 's'}, not at least 2"
            yield Finding("collections.csv", f"{number} {collection.name}", wrong)


def iterate_works(store: Store) -> Iterator[Movie | Show]:
    """Yield every film and show."""
    yield from store.movies.values()
    yield from store.shows.values()


def iterate_records(store: Store) -> Iterator[Record]:
    """Yield every film, show and episode."""
    yield from iterate_works(store)
    yield from store.episodes.values()


def names_by_file(store: Store) -> Mapping[str, list[str]]:
    """Return the names of people, collections, companies, networks and keywords by file."""
    return {
        "people.csv": [row.name for row in store.people.values()],
        "collections.csv": [row.name for row in store.collections.values()],
        "companies.csv": [row.name for row in store.companies.values()],
        "networks.csv": [row.name for row in store.networks.values()],
        "keywords.csv": [*store.keywords],
    }


def iterate_credited(record: Record) -> Iterator[str]:
    """Yield the names of all people that a record credits; a name can occur more than once."""
    yield from record.cast
    if isinstance(record, Episode):
        yield from [*record.guests, *record.directors, *record.writers]
    else:
        yield from (name for job in record.crew.values() for name in job)
    if isinstance(record, Show):
        yield from record.created_by


def _iterate_references(store: Store, record: Record) -> Iterator[tuple[str, Iterable[str | int], list[str | int]]]:
    """Yield, for each file that a record refers to: its name, the existing keys, and the referenced keys."""
    yield "people.csv", store.person, [*iterate_credited(record)]
    if isinstance(record, Episode):
        yield "shows.jsonl", store.shows, [record.show]
        return
    kind = "movie" if isinstance(record, Movie) else "tv"
    yield "companies.csv", store.company, [*record.companies]
    yield "keywords.csv", store.keywords, [*record.keywords]
    yield "genres.csv", {name for of, name in store.genres if of == kind}, [*record.genres]
    if isinstance(record, Show):
        yield "networks.csv", store.network, [*record.networks]
    elif record.collection is not None:
        yield "collections.csv", store.collections, [record.collection]


def _iterate_lists(record: Record) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(record, Episode):
        yield from (("directors", record.directors), ("writers", record.writers))
        yield "cast and guests", (*record.cast, *record.guests)
        return
    yield from record.crew.items()
    yield from (("genres", record.genres), ("companies", record.companies))
    yield from (("keywords", record.keywords), ("countries", record.countries))
    if isinstance(record, Show):
        yield from (("networks", record.networks), ("created_by", record.created_by))
