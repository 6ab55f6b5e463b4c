"""Metrics of cost, worked out by hand; the repeats of a task are one draw of their intervals."""

from __future__ import annotations

from typing import Any

import pytest

from codetool.evaluation.cost_summary import summarize_costs


def line(success: bool, seconds: float, **ledger: float | None) -> dict[str, Any]:
    return {"task_id": f"t{seconds}", "success": success, "seconds": seconds, "ledger": ledger, "error": None}


def test_amounts_of_all_tasks_are_divided_by_the_solved_ones() -> None:
    lines = [
        line(True, 1.0, tokens_in=100, tokens_out=20, prm_tokens=30, executions=4, executions_ran=3, usd=0.5),
        line(False, 2.0, tokens_in=200, tokens_out=40, answer_tokens_in=6, answer_tokens_out=4, executions=6,
             executions_ran=2, usd=1.0),
        line(True, 4.0, tokens_in=0, tokens_out=0, executions=0, executions_ran=0, usd=0.0),
    ]  # fmt: skip
    found = summarize_costs(lines, seed=0)
    assert {name: aggregate["value"] for name, aggregate in found.items()} == {
        "executable_rate": 5 / 10, "tokens_per_solved": 400 / 2, "seconds_per_solved": 7 / 2, "usd_per_solved": 1.5 / 2,
        "seconds_p50": 2.0, "seconds_p95": pytest.approx(3.8),
    }  # fmt: skip
    assert {aggregate["n"] for aggregate in found.values()} == {3}
    rate = found["executable_rate"]
    assert rate["low"] is not None and rate["high"] is not None and 0 <= rate["low"] <= 0.5 <= rate["high"] <= 1
    assert found["seconds_p50"]["low"] is None


def test_what_is_not_known_or_has_no_solved_task_is_left_out() -> None:
    assert summarize_costs([], seed=0) == {}
    unknown = [line(True, 1.0, tokens_in=10, usd=None), line(True, 1.0, tokens_in=10, usd=1.0)]
    assert "usd_per_solved" not in summarize_costs(unknown, seed=0)
    assert "executable_rate" not in summarize_costs([line(True, 1.0, executions=2)], seed=0)  # an older line
    assert "executable_rate" not in summarize_costs([line(True, 1.0, executions=0, executions_ran=0)], seed=0)
    assert set(summarize_costs([line(False, 1.0, tokens_in=10, usd=1.0)], seed=0)) == {"seconds_p50", "seconds_p95"}


def make_line(task: str, repeat: int, *, solved: bool, executions: int, ran: int) -> dict[str, Any]:
    name = {"task_id": task} if repeat == 1 else {"task_id": f"{task}#{repeat}", "repeat": repeat}
    ledger = {"tokens_in": 10 * executions, "tokens_out": 0, "executions": executions, "executions_ran": ran}
    return {**name, "success": solved, "seconds": 1.0, "ledger": ledger, "error": None}


def test_repeats_make_no_interval_narrower() -> None:
    once = [make_line(f"t{number}", 1, solved=number % 3 > 0, executions=4, ran=2 + number % 3) for number in range(12)]
    repeated = [
        make_line(line["task_id"], repeat, solved=line["success"], executions=4, ran=line["ledger"]["executions_ran"])
        for line in once
        for repeat in range(1, 5)
    ]
    alone, fourfold = summarize_costs(once, seed=0), summarize_costs(repeated, seed=0)
    assert alone["executable_rate"] == fourfold["executable_rate"]
    assert alone["executable_rate"]["n"] == 12 and alone["executable_rate"]["value"] == pytest.approx(3 / 4)
    assert alone["tokens_per_solved"]["value"] == fourfold["tokens_per_solved"]["value"] == 12 * 40 / 8
    assert alone["tokens_per_solved"] == fourfold["tokens_per_solved"]
