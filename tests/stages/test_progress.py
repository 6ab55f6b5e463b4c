import io
import time
from typing import Any

import pytest
from rich.console import Console

from codetool.stages import progress
from codetool.stages.evaluate import task_progress
from codetool.stages.evaluate.task_progress import TaskCounts, TaskProgress
from codetool.types import Task

TASKS = [Task(f"t{i}", "", ()) for i in range(8)]


def line(success: bool | None = None, error: object = None, tokens: int = 100) -> dict[str, Any]:
    return {"success": success, "error": error, "ledger": {"tokens_out": tokens}}


def test_tasks_of_an_earlier_run_count_as_done_but_not_as_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = TaskCounts.from_results({"t0": line(True), "t1": line(False)}, TASKS)
    assert counts.describe().startswith("2/8 tasks · success 1/2 · 0 candidates · 0 tokens/s")
    assert "left" not in counts.describe()


def test_failures_of_ours_are_shown_and_unchecked_tasks_are_not_success() -> None:
    counts = TaskCounts(total=8)
    counts.count(line(None))
    counts.count(line(None, {"kind": "internal"}))
    counts.count(line(None, {"kind": "unfinished"}))
    assert "success" not in counts.describe()
    assert "1 failed" in counts.describe()


@pytest.mark.parametrize(("written", "expected"), [(100, "0:28 left"), (400, "0:04 left")])
def test_time_left_counts_what_tasks_in_flight_have_written(
    written: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_progress.time, "monotonic", lambda: 104.0)
    counts = TaskCounts(total=8, started=100.0, tokens=written)
    counts.count(line(tokens=100))
    assert expected in counts.describe()


def test_without_a_terminal_a_plain_line_comes_now_and_then_also_while_nothing_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.05)
    out = io.StringIO()
    with TaskProgress(TaskCounts(total=8), Console(file=out)) as display:
        for _ in range(60):
            display.count_candidate(1)
        time.sleep(0.5)
    printed = out.getvalue().splitlines()
    assert 2 <= len(printed) <= 11
    assert printed[-1].startswith("0/8 tasks · 60 candidates · ") and "\x1b" not in out.getvalue()


def test_nothing_is_said_while_more_tasks_are_in_flight_than_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short ones of 60 wide trees end first: their work says little about the others."""
    monkeypatch.setattr(task_progress.time, "monotonic", lambda: 190.0)
    counts = TaskCounts(total=60, started=100.0, work=60 * 90, begun=60)
    counts.count(line(tokens=92))
    assert "left" not in counts.describe()


def test_tasks_in_flight_have_half_the_mean_work_left_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_progress.time, "monotonic", lambda: 200.0)
    counts = TaskCounts(total=60, started=100.0, work=60 * 100, begun=60)
    for _ in range(40):
        counts.count(line(tokens=100))
    assert "0:17 left" in counts.describe()  # 20 × 50 of 60 tokens a second


def test_recorded_candidates_are_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_progress.time, "monotonic", lambda: 110.0)
    counts = TaskCounts(total=4, started=100.0, work=200, begun=2)
    counts.count(line(tokens=100))
    counts.count(line(tokens=100))
    assert "0:10 left" in counts.describe() and "0 tokens/s" in counts.describe()
