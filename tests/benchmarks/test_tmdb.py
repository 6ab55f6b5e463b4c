"""RestBench-TMDB as published and as mended."""

import json
import shutil
from dataclasses import replace

import pytest
import restbench_stand_in
from data_folder import data_folder
from pydantic import ValidationError

from codetool.benchmarks.gold_repairs import GOLD_REPAIRS
from codetool.benchmarks.tmdb import FILES, RestBenchTMDB
from codetool.errors import MissingError


def option(folder=None, **changes):
    """The published files, or those of another folder."""
    options = {"tools": "candidates", "gold": "repaired", "max_observation_chars": 1500, "mirror": ""}
    return RestBenchTMDB(folder=data_folder() if folder is None else folder, **options | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a stand-in's files."""
    folder = tmp_path_factory.mktemp("data")
    restbench_stand_in.write(folder)
    return folder


@pytest.mark.data
def test_a_hundred_tasks_in_order():
    assert [task.id for task in option().tasks()] == [f"q{i}" for i in range(100)]


@pytest.mark.data
def test_original_gold_is_the_published_path_without_stray_blanks():
    published = json.loads((data_folder("restbench") / "tmdb.json").read_bytes())
    for task, row in zip(option(gold="original").tasks(), published, strict=True):
        assert list(task.gold) == [step.strip() for step in row["solution"]]


@pytest.mark.data
def test_repaired_gold_differs_only_where_a_reason_is_given():
    pairs = zip(option().tasks(), option(gold="original").tasks(), strict=True)
    assert {int(a.id[1:]) for a, b in pairs if a.gold != b.gold} == set(GOLD_REPAIRS)
    assert all(repair.reason for repair in GOLD_REPAIRS.values())


def test_every_known_defect_is_mended():
    assert set(GOLD_REPAIRS) == {30, 40, 70, 76, 87, 88, 89, 92, 93, 96, 97, 98}  # 53 asks what no operation tells


@pytest.mark.data
def test_repaired_gold_names_only_operations_of_the_document():
    known = {tool.endpoint for tool in option(tools="all").tasks()[0].tools}
    assert {endpoint for task in option().tasks() for endpoint in task.gold} <= known


@pytest.mark.data
def test_the_candidates_are_the_published_ones_in_their_order():
    published = json.loads((data_folder("codetool") / "tmdb_candidates.json").read_bytes())
    for task, row in zip(option(gold="original").tasks(), published, strict=True):
        assert [tool.name for tool in task.tools] == list(dict.fromkeys(row["api_list"]))


@pytest.mark.data
def test_a_repair_adds_the_tools_it_needs_after_the_candidates():
    for task, bare in zip(option().tasks(), option(gold="original").tasks(), strict=True):
        count = len(bare.tools)
        added = {tool.endpoint for tool in task.tools[count:]}
        assert task.tools[:count] == bare.tools and added <= set(task.gold)
        assert not added or int(task.id[1:]) in GOLD_REPAIRS


@pytest.mark.data
def test_all_offers_every_operation():
    assert {len(task.tools) for task in option(tools="all").tasks()} == {54}


@pytest.mark.data
def test_the_trending_list_shows_what_its_entries_hold():
    tool = next(tool for tool in option(tools="all").tasks()[0].tools if tool.path.startswith("/trending"))
    assert "" not in tool.response and "id" in json.dumps(tool.response["results"])


@pytest.mark.data
def test_the_preamble_defines_headers_without_a_key():
    scope = {}
    exec(option().tasks()[0].preamble, scope)
    assert scope["headers"] == {"accept": "application/json"}


def test_answers_are_checked(made):
    tmdb = option(made, gold="original")
    tasks = tmdb.tasks()
    assert tmdb.check(tasks[0], "She has directed 8 movies.") is True and tmdb.check(tasks[0], "7") is False
    assert tmdb.check(tasks[0], None) is False


@pytest.mark.data
def test_the_query_that_nothing_answers_has_no_verdict():
    assert option().check(option().tasks()[53], "1923") is None


@pytest.mark.data
def test_a_task_from_elsewhere_has_no_verdict():
    assert option().check(replace(option().tasks()[0], id="copy-0"), "8") is None


def test_the_checksum_follows_the_answers(made, monkeypatch, tmp_path):
    before = option(made).checksum()
    monkeypatch.setattr("codetool.benchmarks.tmdb.ANSWERS_FILE", tmp_path / "answers.jsonl")
    (tmp_path / "answers.jsonl").write_text("{}")
    assert option(made).checksum() != before


def test_the_checksum_follows_the_files(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    assert option(folder=tmp_path).checksum() == option(made).checksum()
    (tmp_path / "restbench/tmdb.json").write_text("[]")
    assert option(folder=tmp_path).checksum() != option(made).checksum()


@pytest.mark.parametrize("changes", [{"tools": "some"}, {"gold": "best"}, {"size": 1}])
def test_other_settings_are_refused(tmp_path, changes):
    with pytest.raises(ValidationError):
        option(folder=tmp_path, **changes)


def test_a_broken_file_is_named_with_its_source(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('[{"query": "cut o')
    with pytest.raises(MissingError, match=r"tmdb\.json is broken .*raw\.githubusercontent\.com"):
        option(folder=tmp_path).tasks()


def test_an_empty_variable_is_an_unset_one():
    assert option(folder="").folder is None
