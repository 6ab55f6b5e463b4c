import os
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codetool.errors import ConfigError, WriteError
from codetool.evaluation.result_records import LEDGER_SHAPE
from codetool.runs import journal
from codetool.runs.journal import Journal
from codetool.stages.run_folder import SHAPES, describe_damage, lock_folder, open_folder, read_finished, select_folder


def line(task: str, error: object = None) -> dict[str, Any]:
    """A result line with the fields that every line has."""
    return {
        "task_id": task, "query": "?", "answer": None, "success": None, "finished": False, "stopped_by": None,
        "path": [], "metrics": {"scep": 0.0, "usd": None}, "error": error, "seconds": 0.1,
        "ledger": {**dict.fromkeys(LEDGER_SHAPE, 0), "usd": None},
    }  # fmt: skip


def tree(task: str, **further: object) -> dict[str, Any]:
    return {"task_id": task, "nodes": [], **further}


def candidate(task: str, index: int = 0, draw: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    drawn = {"text": "", "tokens_in": 0, "tokens_out": 0, "sampling": {}}
    return {"task_id": task, "key": "k", "index": index, "draw": list(draw), **drawn}


def test_a_finished_task_is_known_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    with open_folder(tmp_path / "run") as folder:
        folder.commit(line("a"), tree("a"))
    with open_folder(tmp_path / "run") as folder:
        assert folder.done == {"a": line("a")}


def test_a_task_that_failed_internally_is_tried_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a", {"kind": "internal", "message": "y"}), None)
        folder.commit(line("b"), tree("b"))
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"b"}
    assert [record["task_id"] for record in journal.read_records(tmp_path / "results.jsonl")] == ["b"]


def test_a_task_that_the_policy_got_wrong_is_done(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a", {"kind": "wrong_answer", "message": "y"}), tree("a"))
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"a"}


def test_a_tree_without_its_result_line_is_dropped_so_that_no_task_stands_twice(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a"), tree("a"))
        folder.trees.append(tree("b"))
    with open_folder(tmp_path):
        pass
    assert list(journal.read_records(tmp_path / "trees.jsonl")) == [tree("a")]


def test_two_runs_cannot_write_one_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path), pytest.raises(ConfigError, match="another run is writing"), open_folder(tmp_path):
        pass


def test_who_waits_for_a_run_that_leaves_nothing_has_the_folder_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def wait_and_commit() -> None:
        with open_folder(path, wait=True) as folder:
            entered.set()
            folder.commit(line("a"), tree("a"))
            done.wait()

    entered, done = threading.Event(), threading.Event()
    waiting = threading.Thread(target=wait_and_commit, daemon=True)
    with open_folder(path):
        waiting.start()
        time.sleep(0.2)  # until it waits for the lock
    assert entered.wait(5)
    with pytest.raises(ConfigError, match="another run is writing"), open_folder(path):
        pass
    done.set()
    waiting.join()
    assert set(read_finished(path)) == {"a"}


def test_fresh_opens_the_next_folder_and_later_runs_resume_the_newest(tmp_path: Path) -> None:
    base = tmp_path / "run"
    for expected in ("run", "run-2", "run-3"):
        folder = select_folder(base, fresh=True)
        assert folder.name == expected
        folder.mkdir()
    assert select_folder(base, fresh=False).name == "run-3"


def test_the_line_that_makes_a_task_done_is_written_last(tmp_path: Path) -> None:
    class Broken(Journal):
        def append(self, record: object) -> None:
            raise WriteError("disk full")

    with open_folder(tmp_path) as folder:
        with pytest.raises(WriteError, match="disk full"):
            replace(folder, results=Broken(tmp_path / "results.jsonl")).commit(line("a"), tree("a"))
        assert list(journal.read_records(tmp_path / "trees.jsonl")) == [tree("a")]
        assert folder.done == {}


def test_candidates_of_unfinished_tasks_are_known_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.candidates.append(candidate("a"))
        folder.candidates.append(candidate("b"))
        folder.commit(line("a"), tree("a"))
    with open_folder(tmp_path) as folder:
        assert folder.known_candidates == (candidate("b"),)


@pytest.mark.parametrize(
    ("names", "newest", "next_name"),
    [
        ([], "run", "run"),
        (["run"], "run", "run-2"),
        (["run-2"], "run-2", "run-3"),
        (["run", "run-3"], "run-3", "run-4"),
        (["run-9", "run-10"], "run-10", "run-11"),
        (["run", "run-x", "run-02", "run-0", "run-1", "run-2b", "run2", "other-5"], "run", "run-2"),
        (["run/", "run-2 (file)"], "run", "run-3"),
        (["run (file)"], "run-2", "run-2"),
    ],
)
def test_the_newest_folder_is_resumed_and_fresh_never_resumes(
    tmp_path: Path, names: list[str], newest: str, next_name: str
) -> None:
    for name in names:
        if name.endswith(" (file)"):
            (tmp_path / name.removesuffix(" (file)")).write_text("")
        else:
            (tmp_path / name).mkdir()
    assert select_folder(tmp_path / "run", fresh=False).name == newest
    assert select_folder(tmp_path / "run", fresh=True).name == next_name


def test_special_characters_of_a_name_are_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "rXn-2").mkdir()
    assert select_folder(tmp_path / "r.n", fresh=False).name == "r.n"


def test_of_repeated_lines_the_last_counts_and_the_damage_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_folder(tmp_path) as folder:
        for number in range(30):
            folder.commit(line("a") | {"n": number}, tree("a", n=number))
        folder.commit(line("b"), tree("b"))
    assert read_finished(tmp_path)["a"]["n"] == 29
    with open_folder(tmp_path) as folder:
        assert folder.done["a"]["n"] == 29
    assert "29 lines repeat a task" in caplog.text
    for name in ("results", "trees"):
        kept = {record["task_id"]: record.get("n") for record in journal.read_records(tmp_path / f"{name}.jsonl")}
        assert kept == {"a": 29, "b": None}
        assert len(list(journal.read_records(tmp_path / f"{name}.jsonl"))) == 2


def test_a_task_whose_last_line_is_an_internal_failure_runs_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a"), tree("a"))
        folder.commit(line("a", {"kind": "internal", "message": "y"}), None)
    with open_folder(tmp_path) as folder:
        assert folder.done == {}
    assert list(journal.read_records(tmp_path / "trees.jsonl")) == []


def test_failures_of_tasks_that_do_not_run_now_are_kept(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        for task in ("a", "b"):
            folder.commit(line(task, {"kind": "internal", "message": "y"}), None)
    with open_folder(tmp_path, tasks={"a"}):
        pass
    assert [record["task_id"] for record in journal.read_records(tmp_path / "results.jsonl")] == ["b"]


def test_a_draw_that_was_written_in_part_is_drawn_again_as_a_whole(tmp_path: Path) -> None:
    written = [candidate("a", index, draw) for index, draw in ((0, (0, 2)), (1, (0, 2)), (2, (2, 3)), (3, (2, 3)))]
    with open_folder(tmp_path) as folder:
        folder.candidates.append_all(written)
    with open_folder(tmp_path) as folder:
        assert [each["index"] for each in folder.known_candidates] == [0, 1]
    assert len(list(journal.read_records(tmp_path / "candidates.jsonl"))) == 2


RECORDS = {
    "results.jsonl": line("a"),
    "trees.jsonl": tree("a"),
    "candidates.jsonl": candidate("a"),
    "tools.jsonl": {"task_id": "a", "failed": False, "calls": 0, "provenance": {}, "failures": {}, "cache": {}},
}
"""A good record of each journal."""


@pytest.mark.parametrize("content", ["[1]", "3", '"a"', "null", '{"a": 1}', '{"task_id": 3, "error": null}', "["])
@pytest.mark.parametrize("name", SHAPES)
def test_a_line_of_another_shape_is_set_aside_with_one_message(
    tmp_path: Path, name: str, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = journal.encode_record(RECORDS[name])
    for other, record in RECORDS.items():
        (tmp_path / other).write_bytes(journal.encode_record(record))
    (tmp_path / name).write_bytes(content.encode() + b"\n" + good)
    assert [sentence.split(": line 1 is")[0] for sentence in describe_damage(tmp_path)] == [
        f"{tmp_path / name}: 1 line is damaged"
    ]
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"a"}
    assert (tmp_path / name).read_bytes() == good
    assert (tmp_path / f"{name}.damaged").read_text() == content + "\n"
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{tmp_path / name}: 1 line is damaged: line 1 is ") and f"to {name}.damaged" in said
    assert describe_damage(tmp_path) == []


def test_a_finished_task_without_its_tree_runs_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_folder(tmp_path) as folder:
        for task in ("a", "b", "c"):
            folder.commit(line(task), tree(task))
    (tmp_path / "trees.jsonl").write_bytes(journal.encode_record(tree("b")))
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"b"}
    assert "2 finished tasks have no tree in trees.jsonl, such as a: they run again" in caplog.text


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_in_the_place_of_a_journal_is_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: it is a folder"), open_folder(tmp_path):
        pass


def test_who_is_refused_is_told_the_process_that_has_the_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path), ExitStack() as stack:
        with pytest.raises(ConfigError, match=rf"{tmp_path}: .*\(process {os.getpid()}\)"):
            lock_folder(tmp_path, stack, False, ())


@pytest.mark.parametrize(("log", "kept"), [("", False), ("vLLM: out of memory\n", True)])
@pytest.mark.parametrize("name", ["log.txt", "vllm.log"])
def test_a_run_that_cannot_start_leaves_its_logs_and_nothing_else(
    tmp_path: Path, name: str, log: str, kept: bool
) -> None:
    path = tmp_path / "run"
    with pytest.raises(ConfigError, match="no such model"), open_folder(path):
        (path / name).write_text(log)
        raise ConfigError("no such model")
    assert path.exists() is kept
    assert not kept or {file.name for file in path.iterdir()} == {name, ".lock"}
    with open_folder(path) as folder:
        folder.commit(line("a"), tree("a"))
    assert set(read_finished(path)) == {"a"}


def test_a_folder_that_another_run_has_made_anew_is_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with ExitStack() as other:
        with pytest.raises(WriteError, match="removed while the command used it"), ExitStack() as own:
            lock_folder(folder, own, False, tuple(SHAPES))
            shutil.rmtree(folder)
            lock_folder(folder, other, False, tuple(SHAPES))
            raise FileNotFoundError(folder / "metrics.json")
        assert folder.is_dir()
    assert not folder.exists()  # it holds nothing


def test_an_interrupted_command_is_no_write_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        lock_folder(tmp_path / "run", stack, False, tuple(SHAPES))
        shutil.rmtree(tmp_path / "run")
        raise KeyboardInterrupt
