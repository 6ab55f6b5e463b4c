"""The authored data is as large and as complete as its tasks need; what it says is held by `test_tmdb_check.py`."""

import pytest

from codetool.tmdb.store import FILES, FOLDER, compute_checksum, load_store

STORE = load_store()


@pytest.mark.parametrize(
    ("records", "least"),
    [("movies", 350), ("shows", 60), ("people", 900), ("companies", 45), ("networks", 15), ("episodes", 300)],
)
def test_it_is_as_large_as_its_tasks_need(records, least):
    assert len(getattr(STORE, records)) >= least


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


def test_every_film_has_a_director():
    assert [movie.title for movie in STORE.movies.values() if not movie.crew.get("Director")] == []


def test_a_persons_gender_is_known():
    assert {person.gender for person in STORE.people.values()} <= {1, 2, 3}


def test_birthdays_of_nearly_all_leads_and_directors_are_known():
    asked = {name for movie in STORE.movies.values() for name in (*list(movie.cast)[:1], *movie.crew["Director"])}
    unknown = [name for name in asked if not STORE.person[name].birthday]
    assert len(unknown) <= len(asked) / 15, sorted(unknown)


def test_checksum_changes_with_any_file(tmp_path):
    for name in FILES:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    assert compute_checksum(tmp_path) == compute_checksum()
    (tmp_path / "networks.csv").write_text("id,name,origin_country,homepage\n")
    assert compute_checksum(tmp_path) != compute_checksum()
