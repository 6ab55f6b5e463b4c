"""The authored data points nowhere that does not exist and says nothing that cannot be."""

import json
from datetime import date

import pytest

from codetool.tools.tmdb.details import COUNTRIES, LANGUAGES
from codetool.tools.tmdb.store import FILES, FOLDER, checksum, load

STORE = load()
WORKS = [*STORE.movies.values(), *STORE.shows.values()]


def day(text):
    return date.fromisoformat(text)


def credited(work):
    yield from work.cast
    for names in work.crew.values():
        yield from names
    yield from getattr(work, "created_by", ())


@pytest.mark.parametrize("kind", ["movies.jsonl", "shows.jsonl", "people.csv", "companies.csv", "collections.csv"])
def test_ids_are_unique_and_rows_sorted_by_them(kind):
    lines = (FOLDER / kind).read_text(encoding="utf-8").splitlines()
    ids = [json.loads(x)["id"] for x in lines] if kind.endswith("jsonl") else [int(x.split(",")[0]) for x in lines[1:]]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("names", ["people", "companies", "networks"])
def test_names_that_records_refer_to_are_unique(names):
    found = [record.name for record in getattr(STORE, names).values()]
    assert len(found) == len(set(found))


def test_everybody_credited_is_in_the_people_file():
    assert {name for work in WORKS for name in credited(work)} <= set(STORE.person)


def test_everybody_in_the_people_file_is_credited_somewhere():
    assert set(STORE.person) == {name for work in WORKS for name in credited(work)}


def test_companies_networks_genres_and_collections_exist():
    assert {name for work in WORKS for name in work.companies} == set(STORE.company)
    assert {name for show in STORE.shows.values() for name in show.networks} == set(STORE.network)
    assert {("movie", genre) for movie in STORE.movies.values() for genre in movie.genres} <= set(STORE.genres)
    assert {("tv", genre) for show in STORE.shows.values() for genre in show.genres} <= set(STORE.genres)
    assert {movie.collection for movie in STORE.movies.values()} - {None} == set(STORE.collections)


def test_countries_and_languages_have_names():
    assert {country for work in WORKS for country in work.countries} <= set(COUNTRIES)
    assert {work.language for work in WORKS} <= set(LANGUAGES)


def test_nobody_worked_on_a_film_before_birth_or_acted_long_after_death():
    for movie in STORE.movies.values():
        for name in movie.cast:
            person = STORE.person[name]
            if person.birthday:
                assert day(person.birthday) < day(movie.release_date), (name, movie.title)
            if person.deathday:
                assert day(movie.release_date).year - day(person.deathday).year <= 3, (name, movie.title)


def test_directors_were_grown_up():
    for movie in STORE.movies.values():
        for name in movie.crew["Director"]:
            if born := STORE.person[name].birthday:
                assert day(movie.release_date).year - day(born).year >= 18, (name, movie.title)


def test_lives_have_a_plausible_length():
    for person in STORE.people.values():
        if person.deathday:
            assert 15 <= day(person.deathday).year - day(person.birthday).year <= 105, person.name
        assert not person.birthday or day(person.birthday) > date(1890, 1, 1)


def test_seasons_follow_each_other_and_the_last_episode_comes_last():
    for show in STORE.shows.values():
        starts = [day(season.air_date) for season in show.seasons]
        assert starts == sorted(set(starts)), show.name
        assert day(show.last_air_date) >= starts[-1], show.name
        assert all(season.episodes > 0 for season in show.seasons), show.name


def test_numbers_are_in_range():
    for work in WORKS:
        assert 0 < work.vote_average <= 10 and work.vote_count > 0 and work.popularity > 0 and work.runtime > 0


def test_no_two_parts_of_a_collection_share_a_release_day():
    for parts in STORE.parts.values():
        assert len({part.release_date for part in parts}) == len(parts)


def test_it_is_as_large_as_its_tasks_need():
    assert len(STORE.movies) >= 300 and len(STORE.shows) >= 35 and len(STORE.people) >= 800


@pytest.mark.parametrize(
    ("director", "films"),
    [
        ("Sofia Coppola", 8),
        ("David Lynch", 10),
        ("Quentin Tarantino", 10),
        ("Christopher Nolan", 12),
        ("Francis Ford Coppola", 22),
        ("Martin Scorsese", 26),
        ("Akira Kurosawa", 30),
        ("Steven Spielberg", 34),
        ("Clint Eastwood", 39),
    ],
)
def test_features_of_a_director_are_complete(director, films):
    assert sum(director in movie.crew["Director"] for movie in STORE.movies.values()) == films


def test_a_persons_gender_is_known():
    assert {person.gender for person in STORE.people.values()} <= {1, 2, 3}


def test_checksum_changes_with_any_file(tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    assert checksum(tmp_path) == checksum()
    (tmp_path / "networks.csv").write_text("id,name,origin_country,homepage\n")
    assert checksum(tmp_path) != checksum()
