"""What the loggers of a run are told while it goes on: by an evaluation, and by the scoring of steps."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from codetool.stages import scoring_progress
from codetool.stages.evaluate import live_metrics
from codetool.stages.evaluate.live_metrics import log_live_metrics, measure_progress
from codetool.stages.evaluate.task_progress import TaskCounts
from codetool.stages.scoring_progress import ScoringProgress
from codetool.tracking.run_loggers import RunLoggers


class Points:
    """A run logger that keeps its points."""

    def __init__(self) -> None:
        self.points: list[tuple[int, Mapping[str, float]]] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.points.append((step, values))


def start() -> tuple[Points, RunLoggers]:
    points = Points()
    return points, RunLoggers({"points": points})  # type: ignore[dict-item]


def result(success: bool | None, error: str | None = None) -> dict[str, Any]:
    ledger = {"tokens_in": 100, "tokens_out": 20, "tool_calls": 2, "usd": None if error else 0.5}
    return {"success": success, "error": {"kind": error} if error else None, "ledger": ledger}


def test_the_state_of_an_evaluation_has_success_cost_and_errors_by_kind() -> None:
    counts = TaskCounts(total=9)
    for each in (result(True), result(False, "wrong_tool"), result(None, "internal")):
        counts.count(each)
    values = measure_progress(counts)
    assert {"tasks/asked": 9, "tasks/failed": 1, "success": 0.5}.items() <= values.items()
    assert values["success_low"] == pytest.approx(0.0945, abs=1e-3)  # Wilson's for 1 of 2
    assert values["success_high"] == pytest.approx(0.9055, abs=1e-3)
    assert {"tokens": 120, "ledger/tokens_out": 60, "ledger/tool_calls": 6, "ledger/usd": 0.5}.items() <= values.items()
    assert {"errors/wrong_tool": 1, "errors/internal": 1}.items() <= values.items()


def test_an_evaluation_without_a_checked_answer_has_no_success() -> None:
    assert "success" not in measure_progress(TaskCounts(total=9))


async def test_the_state_is_logged_every_few_seconds_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_metrics, "LOG_SECONDS", 0.01)
    points, loggers = start()
    counts = TaskCounts(total=2)
    with pytest.raises(RuntimeError):
        async with log_live_metrics(loggers, counts):
            while not points.points:
                await asyncio.sleep(0.001)
            counts.count(result(True))
            raise RuntimeError
    assert [step for step, _ in points.points][:1] == [0]
    step, last = points.points[-1]
    assert (step, last["success"]) == (1, 1.0)


def test_scoring_logs_its_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_progress, "LOG_SECONDS", 0.0)
    points, loggers = start()
    with ScoringProgress(3, 1, Console(file=io.StringIO()), "sibling groups", "steps", loggers) as progress:
        progress.count(4, 400)
    (step, values), last = points.points
    assert (step, values["sibling_groups/asked"]) == (2, 3)
    assert values["tokens_per_second"] == pytest.approx(100 * values["steps_per_second"])
    assert last[0] == 2
