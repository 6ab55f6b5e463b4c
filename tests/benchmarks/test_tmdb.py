"""RestBench-TMDB as published and as mended."""

import json
import time

import pytest
from data_folder import data_folder
from pydantic import ValidationError

from codetool.benchmarks.repairs import REPAIRS
from codetool.benchmarks.tmdb import FILES, TMDB
from codetool.errors import MissingError


def option(**changes):
    return TMDB(**{"folder": data_folder(), "tools": "candidates", "gold": "repaired", "observation": 1500} | changes)


def test_a_hundred_tasks_in_order():
    assert [task.id for task in option().tasks()] == [f"q{i}" for i in range(100)]


def test_original_gold_is_the_published_path_without_stray_blanks():
    published = json.loads((data_folder("restbench") / "tmdb.json").read_bytes())
    for task, row in zip(option(gold="original").tasks(), published, strict=True):
        assert list(task.gold) == [step.strip() for step in row["solution"]]


def test_repaired_gold_differs_only_where_a_reason_is_given():
    pairs = zip(option().tasks(), option(gold="original").tasks(), strict=True)
    assert {int(a.id[1:]) for a, b in pairs if a.gold != b.gold} == set(REPAIRS)
    assert all(repair.reason for repair in REPAIRS.values())


def test_repaired_gold_names_only_operations_of_the_document():
    known = {tool.endpoint for tool in option(tools="all").tasks()[0].tools}
    assert {endpoint for task in option().tasks() for endpoint in task.gold} <= known


def test_the_candidates_are_the_published_ones_in_their_order():
    published = json.loads((data_folder("codetool") / "tmdb_candidates.json").read_bytes())
    for task, row in zip(option(gold="original").tasks(), published, strict=True):
        assert [tool.name for tool in task.tools] == list(dict.fromkeys(row["api_list"]))


def test_a_repair_adds_the_tools_it_needs_after_the_candidates():
    for task, bare in zip(option().tasks(), option(gold="original").tasks(), strict=True):
        count = len(bare.tools)
        added = {tool.endpoint for tool in task.tools[count:]}
        assert task.tools[:count] == bare.tools and added <= set(task.gold)
        assert not added or int(task.id[1:]) in REPAIRS


def test_all_offers_every_operation():
    assert {len(task.tools) for task in option(tools="all").tasks()} == {54}


def test_the_trending_list_shows_what_its_entries_hold():
    tool = next(tool for tool in option(tools="all").tasks()[0].tools if tool.path.startswith("/trending"))
    assert "" not in tool.response and "id" in json.dumps(tool.response["results"])


def test_the_preamble_defines_headers_without_a_key():
    scope = {}
    exec(option().tasks()[0].preamble, scope)
    assert scope["headers"] == {"accept": "application/json"}


def test_no_task_has_a_checked_answer():
    assert option().check(option().tasks()[0], "8") is None


@pytest.mark.parametrize("set_", [True, False])
def test_missing_data_is_named_at_once_with_where_to_get_it(tmp_path, set_):
    started = time.perf_counter()
    with pytest.raises(MissingError) as error:
        TMDB(folder=tmp_path if set_ else None, tools="all", gold="original", observation=1500).tasks()
    assert time.perf_counter() - started < 1
    assert "CODETOOL_DATA" in str(error.value)
    assert all(name in str(error.value) and url in str(error.value) for name, url in FILES.items())


def test_the_checksum_follows_the_files(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((data_folder() / name).read_bytes())
    assert option(folder=tmp_path).checksum() == option().checksum()
    (tmp_path / "restbench/tmdb.json").write_text("[]")
    assert option(folder=tmp_path).checksum() != option().checksum()


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
