"""Merging the journals of shards: what each file of the run's folder holds afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_run_folder import candidate, line, tree

from codetool.errors import ConfigError, WriteError
from codetool.runs import journal
from codetool.runs.identity import Identity
from codetool.runs.provenance import read_provenance, record_session
from codetool.runs.shard import Shard
from codetool.stages.fault_journal import read_faults
from codetool.stages.run_folder import SHAPES, open_folder
from codetool.stages.shards.merge_shards import merge_shards
from codetool.stages.shards.shard_folder import open_shard
from codetool.stages.spent_journal import read_spent
from codetool.types import Task

STOPPED = {"stopped_by": "run_budget.tokens"}
FAILED = {"kind": "internal", "message": "y"}


def write(folder: Path, name: str, *records: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with journal.Journal(folder / name) as opened:
        opened.append_all(records)


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(journal.read_records(folder / name))


def finish(folder: Path, *tasks: str, text: str = "", settings: dict[str, Any] | None = None) -> Path:
    """A command that finishes these tasks in a folder, each at the cost of ten tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    done = len(read(folder, "results.jsonl"))
    with record_session(folder, Identity(settings or {}, {}), {}, ["run.py"], done=done):
        for task in tasks:
            write(folder, "candidates.jsonl", {**candidate(task), "text": text})
            write(folder, "trees.jsonl", tree(task))
            write(folder, "results.jsonl", line(task))
            counts: dict[str, Any] = {"provenance": {}, "failures": {}, "cache": {}}
            write(folder, "tools.jsonl", {"task_id": task, "failed": False, "calls": 1, **counts})
            write(folder, "spent.jsonl", {"policy": {"tokens_in": 10}})
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def shards(run: Path) -> list[Path]:
    """Two shards that have finished `a`, and `b` and `c`."""
    return [finish(run / "shards/1-of-2", "a"), finish(run / "shards/2-of-2", "c", "b")]


def read_files(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}


def test_all_files_are_merged_in_the_order_of_the_tasks(run: Path, shards: list[Path]) -> None:
    write(shards[0], "votes.jsonl", {"key": "1"})
    write(shards[1], "faults.jsonl", {"policy": {"kinds": {"http 500": 2}}})
    assert merge_shards(run, shards, ["a", "b", "x"]) == 3
    assert [each["task_id"] for each in read(run, "results.jsonl")] == ["a", "b", "c"]
    for name in SHAPES:
        assert {each["task_id"] for each in read(run, name)} == {"a", "b", "c"}
    assert read_spent(run)["policy"]["tokens_in"] == 30 and read_faults(run)["policy"]["kinds"] == {"http 500": 2}
    assert read(run, "votes.jsonl") == [{"key": "1"}]
    provenance = read_provenance(run)
    assert [session["part"]["name"] for session in provenance.sessions] == ["1-of-2", "2-of-2"]
    [code] = provenance.results_by_code(3)
    assert code["results"] == 3
    with open_folder(run) as opened:
        assert set(opened.done) == {"a", "b", "c"}


def test_what_is_merged_again_counts_once(run: Path, shards: list[Path]) -> None:
    finish(run, "own")
    merge_shards(run, shards, [])
    finish(shards[1], "d")
    merge_shards(run, shards, [])
    before = read_files(run)
    merge_shards(run, shards, [])
    assert read_files(run) == before
    assert read_spent(run)["policy"]["tokens_in"] == 50 and len(read(run, "tools.jsonl")) == 5
    assert [code["results"] for code in read_provenance(run).results_by_code(5)] == [5]


def test_a_merge_that_is_killed_anywhere_is_made_good_by_the_next(
    run: Path, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(run, "own")
    files = read_files(run)
    merge_shards(run, shards, [])
    expected, writes, attempts = read_files(run), journal.atomic_write, 0
    for allowed in range(20):
        for file in read_files(run):
            (run / file).unlink()
        for name, content in files.items():
            (run / name).write_bytes(content)
        left = allowed

        def write_or_die(path: Path, content: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise WriteError("killed")
            writes(path, content)

        monkeypatch.setattr(journal, "atomic_write", write_or_die)
        try:
            merge_shards(run, shards, [])
            break
        except WriteError:
            attempts += 1
        monkeypatch.setattr(journal, "atomic_write", writes)
        with open_folder(run):  # another command, which drops trees without a result
            pass
        merge_shards(run, shards, [])
        assert {name: read_files(run)[name] for name in expected} == expected
    assert attempts == 6


def test_the_better_result_of_a_task_is_kept(run: Path) -> None:
    shard = run / "shards/1-of-1"
    finish(shard, "a", "b", text="shard's")
    finish(run, "a", text="own")
    write(run, "results.jsonl", line("b", FAILED), {**line("c"), **STOPPED})
    write(shard, "results.jsonl", line("c", FAILED), line("d", FAILED))
    merge_shards(run, [shard], [])
    assert {each["task_id"]: each["error"] for each in read(run, "results.jsonl")} == {
        "a": None, "b": None, "c": None, "d": FAILED,
    }  # fmt: skip
    assert {each["task_id"]: each["text"] for each in read(run, "candidates.jsonl")} == {"a": "own", "b": "shard's"}


def test_of_unfinished_tasks_the_most_candidates_are_kept(run: Path) -> None:
    shard = run / "shards/1-of-1"
    write(run, "candidates.jsonl", candidate("a"), candidate("b"))
    write(shard, "candidates.jsonl", candidate("a"), {**candidate("a"), "key": "next"}, candidate("b"))
    merge_shards(run, [shard], [])
    assert [(each["task_id"], each["key"]) for each in read(run, "candidates.jsonl")] == [
        ("b", "k"), ("a", "k"), ("a", "next"),
    ]  # fmt: skip


def test_a_shard_goes_on_from_what_the_run_has_begun(run: Path) -> None:
    finish(run, "a")
    write(run, "candidates.jsonl", candidate("b"), candidate("other"))
    tasks = [Task(name, "?", ()) for name in "abc"]
    with open_shard(run, Shard(1, 1), tasks, lambda line: False) as part:
        assert [task.id for task in part.tasks] == ["b", "c"]
        with open_folder(part.path, check_claim=part.claim.check) as opened:
            assert [each["task_id"] for each in opened.known_candidates] == ["b"]
            (run / "shards/1-of-1.claim-2").touch()
            with pytest.raises(WriteError, match="another process goes on"):
                opened.commit(line("b"), tree("b"))
            assert opened.done == {}
    assert json.loads((run / "shards/1-of-1.done").read_text())["tasks"]


def test_shards_of_another_result_are_refused(run: Path, shards: list[Path]) -> None:
    finish(run, "own", settings={"seed": 2})
    with pytest.raises(ConfigError, match="1-of-2 is of another result"):
        merge_shards(run, shards, [])
