import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codetool import journal
from codetool.errors import ConfigError
from codetool.journal import Journal
from codetool.stages.run_folder import choose, done_in, open_folder


def line(task: str, error: object = None) -> dict[str, Any]:
    return {"task_id": task, "error": error}


def test_a_finished_task_is_known_when_the_folder_is_opened_again(tmp_path: Path) -> None:
    with open_folder(tmp_path / "run") as folder:
        folder.commit(line("a"), {"task_id": "a", "nodes": []})
    with open_folder(tmp_path / "run") as folder:
        assert folder.done == {"a": line("a")}


def test_a_task_that_failed_for_our_own_reasons_is_tried_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a", {"kind": "ours", "message": "y"}), None)
        folder.commit(line("b"), None)
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"b"}
    assert [record["task_id"] for record in journal.read(tmp_path / "results.jsonl")] == ["b"]


def test_a_task_that_the_policy_got_wrong_is_done(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a", {"kind": "wrong_answer", "message": "y"}), None)
    with open_folder(tmp_path) as folder:
        assert set(folder.done) == {"a"}


def test_a_tree_without_its_result_line_is_dropped_so_that_no_task_stands_twice(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.commit(line("a"), {"task_id": "a"})
        folder.trees.append({"task_id": "b"})
    with open_folder(tmp_path):
        pass
    assert list(journal.read(tmp_path / "trees.jsonl")) == [{"task_id": "a"}]


def test_two_runs_cannot_write_one_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path), pytest.raises(ConfigError, match="another run is writing"), open_folder(tmp_path):
        pass


def test_who_waits_for_a_run_that_leaves_nothing_has_the_folder_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def wait_and_commit() -> None:
        with open_folder(path, wait=True) as folder:
            entered.set()
            folder.commit(line("a"), None)
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
    assert set(done_in(path)) == {"a"}


def test_fresh_opens_the_next_folder_and_later_runs_resume_the_newest(tmp_path: Path) -> None:
    base = tmp_path / "run"
    for expected in ("run", "run-2", "run-3"):
        folder = choose(base, fresh=True)
        assert folder.name == expected
        folder.mkdir()
    assert choose(base, fresh=False).name == "run-3"


def test_the_line_that_makes_a_task_done_is_written_last(tmp_path: Path) -> None:
    class Broken(Journal):
        def append(self, record: object) -> None:
            raise OSError("disk full")

    with open_folder(tmp_path) as folder:
        with pytest.raises(OSError, match="disk full"):
            replace(folder, results=Broken(tmp_path / "results.jsonl")).commit(line("a"), {"task_id": "a"})
        assert list(journal.read(tmp_path / "trees.jsonl")) == [{"task_id": "a"}]
        assert folder.done == {}


def test_candidates_of_unfinished_tasks_are_known_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.candidates.append({"task_id": "a"})
        folder.candidates.append({"task_id": "b"})
        folder.commit(line("a"), None)
    with open_folder(tmp_path) as folder:
        assert folder.known_candidates == ({"task_id": "b"},)
