"""In-memory store of the replica's data, loaded from the files in `data/`."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from codetool.tmdb.records import Collection, Episode, Movie, Organisation, Person, Season, Show
from codetool.tmdb.search_index import SearchIndex, build_index

Work = TypeVar("Work", bound=Movie | Show)
Ranked = TypeVar("Ranked", bound=Movie | Show | Person)

FOLDER = Path(__file__).parent / "data"
FILES = (
    "movies.jsonl",
    "shows.jsonl",
    "episodes.jsonl",
    "people.csv",
    "collections.csv",
    "companies.csv",
    "networks.csv",
    "genres.csv",
    "keywords.csv",
)


@dataclass(frozen=True)
class Store:
    """All records by id; genre ids by kind and name."""

    movies: Mapping[int, Movie]
    shows: Mapping[int, Show]
    people: Mapping[int, Person]
    collections: Mapping[int, Collection]
    companies: Mapping[int, Organisation]
    networks: Mapping[int, Organisation]
    genres: Mapping[tuple[str, str], int]
    """(`movie` or `tv`, name) → id."""
    keywords: Mapping[str, int]
    """Name → id."""
    episodes: Mapping[tuple[int, int, int], Episode]
    """(show id, season number, episode number) → episode. Episodes of which nothing else is known have no entry."""

    @cached_property
    def person(self) -> Mapping[str, Person]:
        """People by name."""
        return {person.name: person for person in self.people.values()}

    @cached_property
    def company(self) -> Mapping[str, Organisation]:
        """Companies by name."""
        return {company.name: company for company in self.companies.values()}

    @cached_property
    def network(self) -> Mapping[str, Organisation]:
        """Networks by name."""
        return {network.name: network for network in self.networks.values()}

    @cached_property
    def by_imdb_id(self) -> Mapping[str, Movie]:
        """Films by IMDb id; films without a known id are left out."""
        return {movie.imdb_id: movie for movie in self.movies.values() if movie.imdb_id}

    @cached_property
    def parts(self) -> Mapping[int, Sequence[Movie]]:
        """Films of each collection by its id, sorted by release date."""
        movies_by_collection: defaultdict[int, list[Movie]] = defaultdict(list)
        for movie in sorted(self.movies.values(), key=lambda movie: movie.release_date):
            if movie.collection is not None:
                movies_by_collection[movie.collection].append(movie)
        return movies_by_collection

    @cached_property
    def movies_of(self) -> Mapping[str, Sequence[Movie]]:
        """Films that credit a person in cast or crew, by name of the person, most popular first."""
        return _group_by_person(sort_by_popularity(self.movies), lambda movie: ())

    @cached_property
    def shows_of(self) -> Mapping[str, Sequence[Show]]:
        """Shows that credit a person, by name, most popular first. Guest roles count only without other credits."""
        makers: defaultdict[int, list[str]] = defaultdict(list)
        guests: defaultdict[int, list[str]] = defaultdict(list)
        for episode in self.episodes.values():
            makers[episode.show] += [*episode.directors, *episode.writers, *episode.cast]
            guests[episode.show] += episode.guests
        shows = sort_by_popularity(self.shows)
        shows_by_maker = _group_by_person(shows, lambda show: (*show.created_by, *makers[show.id]))
        shows_by_guest = _group_by_person(shows, lambda show: guests[show.id])
        return {
            **{name: guest_shows for name, guest_shows in shows_by_guest.items() if name not in self.movies_of},
            **shows_by_maker,
        }

    @cached_property
    def movie_index(self) -> SearchIndex[Movie]:
        """Films by title and original title."""
        return build_index(sort_by_popularity(self.movies), lambda movie: (movie.title, movie.original_title))

    @cached_property
    def show_index(self) -> SearchIndex[Show]:
        """Shows by name and original name."""
        return build_index(sort_by_popularity(self.shows), lambda show: (show.name, show.original_name))

    @cached_property
    def person_index(self) -> SearchIndex[Person]:
        """People by name."""
        return build_index(sort_by_popularity(self.people), lambda person: (person.name,))

    @cached_property
    def collection_index(self) -> SearchIndex[Collection]:
        """Collections by name, sorted by their most popular film."""
        numbers = dict.fromkeys(movie.collection for movie in sort_by_popularity(self.movies) if movie.collection)
        return build_index((self.collections[number] for number in numbers), lambda collection: (collection.name,))

    @cached_property
    def company_index(self) -> SearchIndex[Organisation]:
        """Companies by name, sorted by their most popular film, then show; companies without either come last."""
        works: list[Movie | Show] = [*sort_by_popularity(self.movies), *sort_by_popularity(self.shows)]
        names = dict.fromkeys([*(name for work in works for name in work.companies), *sorted(self.company)])
        return build_index((self.company[name] for name in names), lambda company: (company.name,))


def sort_by_popularity(records: Mapping[int, Ranked]) -> Sequence[Ranked]:
    """Return the records by descending popularity; ties are sorted by id."""
    return sorted(records.values(), key=lambda record: (-record.popularity, record.id))


def load_store(folder: Path = FOLDER) -> Store:
    """Load the data files of a folder."""
    rows = {name: _read_rows(folder / name) for name in FILES}
    return Store(
        movies={row["id"]: Movie(**_freeze_crew(row)) for row in rows["movies.jsonl"]},
        shows={row["id"]: _parse_show(row) for row in rows["shows.jsonl"]},
        people={int(row["id"]): _parse_person(row) for row in rows["people.csv"]},
        collections={int(row["id"]): Collection(int(row["id"]), row["name"]) for row in rows["collections.csv"]},
        companies={int(row["id"]): _parse_organisation(row) for row in rows["companies.csv"]},
        networks={int(row["id"]): _parse_organisation(row) for row in rows["networks.csv"]},
        genres={(row["kind"], row["name"]): int(row["id"]) for row in rows["genres.csv"]},
        keywords={row["name"]: int(row["id"]) for row in rows["keywords.csv"]},
        episodes={
            (e.show, e.season, e.number): e
            for e in (Episode(**_lists_to_tuples(row)) for row in rows["episodes.jsonl"])
        },
    )


def compute_checksum(folder: Path = FOLDER) -> str:
    """Return the hex sha256 over the data files, in a fixed order."""
    digest = sha256()
    for name in FILES:
        digest.update(sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        if path.suffix == ".csv":
            return list(csv.DictReader(lines))
        return [json.loads(line) for line in lines]


def _freeze_crew(row: Mapping[str, Any]) -> dict[str, Any]:
    crew = {job: tuple(names) for job, names in row["crew"].items()}
    return _lists_to_tuples(row) | {"crew": crew}


def _lists_to_tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _parse_show(row: Mapping[str, Any]) -> Show:
    seasons = tuple(Season(air_date, episodes) for air_date, episodes in row["seasons"])
    return Show(**_freeze_crew(row) | {"seasons": seasons})


def _parse_person(row: Mapping[str, str]) -> Person:
    return Person(
        id=int(row["id"]),
        name=row["name"],
        gender=int(row["gender"]),
        department=row["department"],
        birthday=row["birthday"],
        deathday=row["deathday"],
        place_of_birth=row["place_of_birth"],
        popularity=float(row["popularity"]),
        also_known_as=tuple(filter(None, (row.get("also_known_as") or "").split(" | "))),
    )


def _parse_organisation(row: Mapping[str, str]) -> Organisation:
    return Organisation(
        int(row["id"]), row["name"], row["origin_country"], row["homepage"], row.get("headquarters", "")
    )


def _group_by_person(
    records: Sequence[Work], get_other_names: Callable[[Work], Iterable[str]]
) -> Mapping[str, Sequence[Work]]:
    """Return the records by each person in cast, crew and the names that `get_other_names` returns."""
    records_by_person: defaultdict[str, list[Work]] = defaultdict(list)
    for record in records:
        crew = [name for names in record.crew.values() for name in names]
        for name in dict.fromkeys([*record.cast, *crew, *get_other_names(record)]):
            records_by_person[name].append(record)
    return records_by_person
