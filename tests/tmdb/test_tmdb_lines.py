"""The check names file and line of what cannot be read, stands twice or is out of its place."""

import pytest
from damages import SEASONS
from small_world import damage, write

from codetool.tmdb.data_checks.check_data import check_folder


@pytest.fixture
def world(tmp_path):
    """A small world in which nothing is wrong."""
    write(tmp_path)
    return tmp_path


def found(world):
    return [str(finding) for finding in check_folder(world)]


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("movies.jsonl", '{"id": 2', '{"id": 2,,', "movies.jsonl: line 2: is no JSON object: "),
        ("movies.jsonl", '{"id": 2', '\n{"id": 2', "movies.jsonl: line 2: is no JSON object: "),
        ("movies.jsonl", '{"id": 2', '[]\n{"id": 2', "movies.jsonl: line 2: is no JSON object"),
        ("movies.jsonl", '"runtime": 100, ', "", "movies.jsonl: line 1: runtime: "),
        ("movies.jsonl", '"runtime": 100', '"runtime": "100"', "movies.jsonl: line 1: runtime: "),
        ("movies.jsonl", '"runtime"', '"length": 1, "runtime"', "movies.jsonl: line 1: length is no field of it; "),
        (
            "movies.jsonl",
            '{"Ada',
            '{"Ada Adams": "X", "Ada',
            "line 1: is no JSON object: 'Ada Adams' stands twice in it",
        ),
        ("movies.jsonl", "2000-05-01", "2000-02-30", "line 1: release_date: '2000-02-30' is no day; write YYYY-MM-DD"),
        ("movies.jsonl", "2000-06-07", "20000607", "movies.jsonl: line 1: releases.FR: '20000607' is no day"),
        ("shows.jsonl", '["2011-01-02", 2]', '["2011-01-02"]', "shows.jsonl: line 1: seasons.1: "),
        ("shows.jsonl", SEASONS, "[]", "shows.jsonl: line 1: seasons: a show has at least one"),
        ("shows.jsonl", "2011-01-02", "soon", "shows.jsonl: line 1: season 2: 'soon' is no day"),
        ("episodes.jsonl", '"name": "Storm", ', "", "episodes.jsonl: line 2: name: "),
        ("people.csv", "1970-01-02", "2.1.1970", "people.csv: line 2: birthday: '2.1.1970' is no day"),
        ("people.csv", '"Oslo, Norway"', "Oslo, Norway", "people.csv: line 2: has not a value for each column; "),
        ("people.csv", ",,,3.5", ",3.5", "people.csv: line 4: has not a value for each column; "),
        ("people.csv", "\n2,", "\ntwo,", "people.csv: line 3: id: 'two' is no number"),
        ("people.csv", "id,name", "id,fullname", "people.csv: line 1: its columns are to be id,name,gender,"),
        ("genres.csv", "tv,18", "show,18", "genres.csv: line 3: kind: 'show' is neither movie nor tv"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_finding(world, file, old, new, line):
    damage(world, file, old, new)
    (only,) = found(world)
    assert line in only


@pytest.mark.parametrize("columns", ["id,name,headquarters,origin_country,homepage", "id,name,homepage,origin_country"])
def test_a_networks_headquarters_may_be_left_out_and_columns_stand_in_any_order(world, columns):
    row = {"id": "9", "name": "Channel 9", "headquarters": "", "origin_country": "GB", "homepage": ""}
    values = ",".join(row[column] for column in columns.split(","))
    (world / "networks.csv").write_text(f"{columns}\n{values}\n", encoding="utf-8")
    assert found(world) == []


def test_every_unreadable_line_is_found_at_once(world):
    damage(world, "movies.jsonl", '"runtime": 100, ', "")
    damage(world, "movies.jsonl", '"runtime": 110, ', "")
    damage(world, "genres.csv", "tv,18", "tv,x")
    assert [line.split(": ")[:2] for line in found(world)] == [
        ["movies.jsonl", "line 1"],
        ["movies.jsonl", "line 2"],
        ["genres.csv", "line 3"],
    ]


def test_a_missing_file_is_named(world):
    (world / "keywords.csv").unlink()
    assert found(world) == [f"keywords.csv: file: is not in {world}"]


def test_a_file_in_another_encoding_is_named(world):
    (world / "keywords.csv").write_bytes("id,name\n30,é\n".encode("latin-1"))
    assert found(world)[0].startswith("keywords.csv: file: is not UTF-8: ")


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("movies.jsonl", '"id": 2', '"id": 1', "movies.jsonl: line 2: id 1 stands already in line 1"),
        ("movies.jsonl", '"id": 1', '"id": 3', "movies.jsonl: line 2: not sorted by id: it belongs before line 1"),
        ("people.csv", "\n3,", "\n5,", "people.csv: line 5: not sorted by id: it belongs before line 4"),
        ("people.csv", "Cy Cole", "Ada Adams", "people.csv: line 4: name Ada Adams stands already in line 2"),
        ("keywords.csv", "30,light", "30,light\n30,dark", "keywords.csv: line 3: id 30 stands already in line 2"),
        ("genres.csv", "tv,18", "movie,18", "genres.csv: line 3: kind id movie 18 stands already in line 2"),
        ("genres.csv", "tv,18", "movie,19", "genres.csv: line 3: kind name movie Drama stands already in line 2"),
        (
            "episodes.jsonl",
            '"season": 1, "number": 2',
            '"season": 1, "number": 1',
            "episodes.jsonl: line 2: show season number 5 1 1 stands already in line 1",
        ),
    ],
)
def test_rows_are_unique_and_in_their_place(world, file, old, new, line):
    damage(world, file, old, new)
    assert line in found(world)
