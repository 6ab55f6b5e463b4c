"""Names and ids: each points to a record, each record is used, and none is there twice under two spellings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks.finding import Finding, make_finding
from codetool.tmdb.records import Episode, Movie, Show
from codetool.tmdb.search_index import split_words
from codetool.tmdb.store import Store

Record = Movie | Show | Episode


def find_unknown_names(here: Catalog) -> Iterator[Finding]:
    """Names of people, companies, networks, genres and keywords, and ids of collections, that point nowhere."""
    for record in iterate_records(here.store):
        for file, known, named in _iterate_references(here.store, record):
            for name in dict.fromkeys(named):
                if name not in known:
                    yield make_finding(record, f"{name!r} is not in {file}")


def find_unused_records(here: Catalog) -> Iterator[Finding]:
    """People, companies, networks and keywords that nothing names (of collections see `lonely_collections`)."""
    used: defaultdict[str, set[str | int]] = defaultdict(set)
    for record in iterate_records(here.store):
        for file, _, named in _iterate_references(here.store, record):
            used[file].update(named)
    for file, known in names_by_file(here.store).items():
        if file != "collections.csv":  # a film refers to it by its id
            yield from (Finding(file, name, "nothing names it") for name in known if name not in used[file])


def find_accent_variants(here: Catalog) -> Iterator[Finding]:
    """Two names in one file that differ only by accents, case, punctuation or an article: likely one thing twice."""
    for file, known in names_by_file(here.store).items():
        found: dict[str, str] = {}
        for name in known:
            bare = "".join(split_words(name))
            if bare and found.setdefault(bare, name) != name:
                yield Finding(file, name, f"is likely the same as {found[bare]!r}")


def find_same_title_and_year(here: Catalog) -> Iterator[Finding]:
    """Two films, or two shows, of one name and one year: likely one work twice."""
    found: dict[tuple[type, str, str], Movie | Show] = {}
    for work in iterate_works(here.store):
        name, day = (work.title, work.release_date) if isinstance(work, Movie) else (work.name, work.first_air_date)
        first = found.setdefault((type(work), "".join(split_words(name)), day[:4]), work)
        if first is not work:
            yield make_finding(work, f"is likely the same as {first.id}, of the same name and year")


def find_listed_twice(here: Catalog) -> Iterator[Finding]:
    """A name that one list of a record has twice: a person in a job, a genre, a company, a keyword, a country."""
    for record in iterate_records(here.store):
        for field, listed in _iterate_lists(record):
            for name in sorted({name for name in listed if listed.count(name) > 1}):
                yield make_finding(record, f"{field} lists {name!r} twice")


def find_small_collections(here: Catalog) -> Iterator[Finding]:
    """Collections of fewer than two films."""
    for number, collection in here.store.collections.items():
        if (size := len(here.store.parts.get(number, ()))) < 2:
            wrong = f"has {size} film{'' if size == 1 else 's'}, not at least 2"
            yield Finding("collections.csv", f"{number} {collection.name}", wrong)


def iterate_works(store: Store) -> Iterator[Movie | Show]:
    """Every film and show."""
    yield from store.movies.values()
    yield from store.shows.values()


def iterate_records(store: Store) -> Iterator[Record]:
    """Every film, show and episode."""
    yield from iterate_works(store)
    yield from store.episodes.values()


def names_by_file(store: Store) -> Mapping[str, list[str]]:
    """File by file, the names of what is not a work."""
    return {
        "people.csv": [row.name for row in store.people.values()],
        "collections.csv": [row.name for row in store.collections.values()],
        "companies.csv": [row.name for row in store.companies.values()],
        "networks.csv": [row.name for row in store.networks.values()],
        "keywords.csv": [*store.keywords],
    }


def iterate_credited(record: Record) -> Iterator[str]:
    """Everybody whom a record names, perhaps more than once."""
    yield from record.cast
    if isinstance(record, Episode):
        yield from [*record.guests, *record.directors, *record.writers]
    else:
        yield from (name for job in record.crew.values() for name in job)
    if isinstance(record, Show):
        yield from record.created_by


def _iterate_references(store: Store, record: Record) -> Iterator[tuple[str, Iterable[str | int], list[str | int]]]:
    """File, what it knows, and what the record names of it."""
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
