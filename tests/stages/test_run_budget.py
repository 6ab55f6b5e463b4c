"""The budget of a whole run: it ends the run with what there is, and the same command with a larger one goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import read_lines, read_metrics, strip_seconds
from in_process import evaluate_run, evaluate_with_log, scripted
from scripted_policy import scripted_server

from codetool.errors import ConfigError
from codetool.stages.run_outcome import RunOutcome

TASKS = 8


@pytest.fixture(scope="module")
def policy() -> Iterator[ChatServer]:
    with scripted_server() as server:
        yield server


def run(outputs: Path, policy: ChatServer, *words: str) -> RunOutcome:
    return evaluate_run(outputs, *scripted(policy), f"limit={TASKS}", "concurrency=2", "search=greedy", *words)


def test_a_spent_budget_ends_the_run_and_a_larger_one_continues_it(
    policy: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(tmp_path / "whole", policy)
    asked = len(policy.requests)
    first = run(tmp_path / "parts", policy, "run_budget.tokens=150")  # a request has 50 tokens
    lines = read_lines(first.folder, "results")
    stopped = [line for line in lines if line["stopped_by"] == "run_budget.tokens"]
    assert first.folder.name == whole.folder.name  # the budget is no part of the identity
    assert 0 < len(stopped) <= len(lines) < TASKS and len(policy.requests) - asked <= 4
    said = f"run_budget.tokens=150 is reached: {len(stopped)} tasks ended with their best path so far, "
    assert said + f"{TASKS - len(lines)} were not begun." in capsys.readouterr().out
    assert read_metrics(first.folder)["run_budget"].startswith(said)
    assert read_metrics(first.folder)["stopped"] == {"run_budget.tokens": len(stopped)}

    before = len(policy.requests)
    run(tmp_path / "parts", policy, "run_budget.tokens=150")
    assert len(policy.requests) == before and read_lines(first.folder, "results") == lines

    second = run(tmp_path / "parts", policy, "run_budget.tokens=1000000")
    assert strip_seconds(read_lines(second.folder, "results")) == strip_seconds(read_lines(whole.folder, "results"))
    assert len(policy.requests) - asked == asked  # no draw was asked for twice
    assert "run_budget" not in read_metrics(second.folder)


def test_a_budget_in_usd_needs_a_price_and_takes_that_of_the_endpoint(policy: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run_budget.usd=0.1: no model of this run has a price"):
        run(tmp_path, policy, "run_budget.usd=0.1")
    priced = ("policy.usd_per_million_in=0", "policy.usd_per_million_out=1000000")
    outcome = run(tmp_path, policy, "run_budget.usd=50", *priced)  # a new token costs 1 USD
    spent = read_metrics(outcome.folder)["spent"]["policy"]
    assert spent["usd"] == spent["tokens_out"] >= 50
    assert "run_budget.usd=50 is reached" in read_metrics(outcome.folder)["run_budget"]


@pytest.mark.slow
def test_a_task_ends_at_its_own_budget_in_usd_and_operations(policy: ChatServer, tmp_path: Path) -> None:
    priced = ("policy.usd_per_million_in=0", "policy.usd_per_million_out=1000000")
    outcome = run(tmp_path / "usd", policy, "budget.usd=40", *priced)  # 40 new tokens a step of two candidates
    assert {line["stopped_by"] for line in read_lines(outcome.folder, "results")} == {"usd"}
    assert {line["ledger"]["usd"] for line in read_lines(outcome.folder, "results")} == {40.0}
    dearer = run(tmp_path / "usd", policy, "budget.usd=40", priced[0], "policy.usd_per_million_out=500000")
    assert dearer.folder.name != outcome.folder.name  # the price decides where a search ends
    with pytest.raises(ConfigError, match=r"budget.flops=500: the size of the model is unknown for policy"):
        run(tmp_path / "flops", policy, "budget.flops=500")
    outcome = run(tmp_path / "flops", policy, "budget.flops=500", "policy.parameters=10")
    lines = read_lines(outcome.folder, "results")
    assert {line["stopped_by"] for line in lines} == {"flops"}
    assert {line["ledger"]["flops"] for line in lines} == {2 * 10 * 50}


def test_a_dry_run_tells_the_bound_and_later_what_finished_tasks_took(policy: ChatServer, tmp_path: Path) -> None:
    words = (*scripted(policy), f"limit={TASKS}", "search=greedy", "policy.usd_per_million_in=1", "dry_run=true")
    priced = (*words, "policy.usd_per_million_out=1")
    dry, said = evaluate_with_log(tmp_path, *priced)
    bound = dry.estimate
    assert bound is not None and bound["basis"] == "bound" and bound["calls"]["policy requests"] == 5 * TASKS
    assert f"expected for {TASKS} tasks, by the search's upper bound:" in said and "  assumed: no path ends" in said
    assert not any(tmp_path.iterdir()) and bound["seconds"] is None
    _, said_of_limits = evaluate_with_log(tmp_path, *priced, "run_budget.tokens=9", "run_budget.usd=1000")
    assert "ended earlier by run_budget.tokens=9, which is less" in said_of_limits and "usd=" not in said_of_limits
    done = [word for word in priced if not word.startswith(("dry_run", "limit"))]
    outcome = evaluate_run(tmp_path, *done, "limit=4")
    spent = read_metrics(outcome.folder)["spent"]["policy"]
    assert spent["requests"] <= bound["calls"]["policy requests"] / 2
    assert spent["tokens_out"] <= bound["tokens"]["policy"][1] / 2
    dry, said = evaluate_with_log(tmp_path, *priced)
    measured = dry.estimate
    assert measured is not None and (measured["basis"], measured["tasks"], measured["measured"]) == ("measured", 4, 4)
    assert measured["tokens"]["policy"] == [spent["tokens_in"], spent["tokens_out"]]  # 4 more like these 4
    assert measured["usd"] == pytest.approx(spent["usd"]) and measured["seconds"] > 0
    assert "expected for 4 tasks, by what 4 finished tasks took:" in said
    json.dumps(measured)
