"""A benchmark's check that fails on one task costs that task alone, in every stage that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import ChatServer, Reply
from command_line import read_lines, read_metrics
from in_process import collect_run, evaluate_run, scripted

from codetool.benchmarks.tmdb_verified import TMDBVerified
from codetool.types import Task

REAL = TMDBVerified(split="dev", train=None, max_observation_chars=1500)
SECOND = REAL.tasks()[1].id
LIMIT = 3


@dataclass
class FailingBenchmark:
    """A benchmark whose check fails on some tasks while `fails`."""

    failing: Mapping[str, Callable[[], Any]]
    """What the check does, by the id of the task."""
    fails: bool = True
    on_no_answer: bool = True
    checked: list[str] = field(default_factory=list)

    def tasks(self) -> list[Task]:
        return list(REAL.tasks())

    def checksum(self) -> str:
        return REAL.checksum()

    def check(self, task: Task, answer: str | None) -> Any:
        self.checked.append(task.id)
        if self.fails and task.id in self.failing and (answer is not None or self.on_no_answer):
            return self.failing[task.id]()
        return REAL.check(task, answer)


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


FAILURES = [
    (raising(ValueError("no such key")), "ValueError: no such key"),
    (raising(SystemExit(3)), "SystemExit: 3"),
    (raising(RecursionError("too deep")), "RecursionError: too deep"),
    (lambda: "yes", "TypeError: the check of FailingBenchmark returned 'yes'"),
    (lambda: 1, "TypeError: the check of FailingBenchmark returned 1"),
]


def test_checks_that_fail_cost_their_tasks_alone_and_are_asked_again(tmp_path: Path, policy: ChatServer) -> None:
    """Each of five tasks fails in its own way; a sixth and a seventh do not."""
    limit = len(FAILURES) + 2
    words = (*scripted(policy), "search=chain", f"limit={limit}")
    failing = [task.id for task in REAL.tasks()][1 : 1 + len(FAILURES)]
    messages = {name: message for name, (_, message) in zip(failing, FAILURES, strict=True)}
    benchmark = FailingBenchmark({name: fail for name, (fail, _) in zip(failing, FAILURES, strict=True)})
    outcome = evaluate_run(tmp_path, *words, benchmark=benchmark)
    assert outcome.failed == len(FAILURES)
    results = {line["task_id"]: line for line in read_lines(outcome.folder, "results")}
    assert len(results) == limit
    for name, message in messages.items():
        failed = results[name]
        assert failed["error"]["kind"] == "internal" and failed["error"]["message"].startswith(message)
        assert failed["success"] is False and failed["answer"] is None
        assert failed["ledger"]["tokens_out"] > 0 and failed["ledger"]["executions"] > 0  # what was spent is not lost
    content = read_metrics(outcome.folder)
    assert content["metrics"]["success"]["n"] == limit  # they count as unsolved, and are named
    assert content["metrics"]["success"]["value"] == sum(line["success"] for line in results.values()) / limit
    assert sorted(each["task_id"] for each in content["tasks"]["failures"]) == sorted(failing)
    assert content["totals"]["tokens_out"] == sum(line["ledger"]["tokens_out"] for line in results.values())
    asked, benchmark.fails = len(policy.requests), False
    again = evaluate_run(tmp_path, *words, benchmark=benchmark)
    assert again.failed == 0 and again.folder == outcome.folder
    assert len(policy.requests) == asked  # their candidates were kept
    assert len(read_lines(outcome.folder, "results")) == len(read_lines(outcome.folder, "trees")) == limit


def test_a_check_that_fails_without_an_answer_too_is_no_other_matter(tmp_path: Path, policy: ChatServer) -> None:
    policy.handler = lambda body: Reply(status=400, body={"error": {"message": "out of order"}})
    outcome = evaluate_run(
        tmp_path,
        *scripted(policy),
        "search=chain",
        "limit=2",
        benchmark=FailingBenchmark({SECOND: raising(KeyError("x"))}),
    )
    assert outcome.failed == 2
    assert {line["error"]["kind"] for line in read_lines(outcome.folder, "results")} == {"internal"}
    assert all("out of order" in line["error"]["message"] for line in read_lines(outcome.folder, "results"))


def test_numpys_truth_values_are_answers(tmp_path: Path, policy: ChatServer) -> None:
    benchmark = FailingBenchmark({SECOND: lambda: np.bool_(True)})
    outcome = evaluate_run(tmp_path, *scripted(policy), "search=chain", "limit=2", benchmark=benchmark)
    assert outcome.failed == 0
    assert (
        read_lines(outcome.folder, "results")[1]["success"] is True
        or read_lines(outcome.folder, "results")[0]["success"]
    )


def test_a_check_that_fails_on_a_leaf_costs_the_process_data_of_its_task_alone(
    tmp_path: Path, policy: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*scripted(policy), "search=chain", f"limit={LIMIT}")
    benchmark = FailingBenchmark({SECOND: raising(ValueError("no such key"))}, on_no_answer=False)
    assert collect_run(tmp_path, *words, benchmark=benchmark) > 0
    [folder] = tmp_path.glob("collect/*")
    failing = SECOND
    rollouts = {line["task_id"] for line in read_lines(folder, "rollouts")}
    assert len(rollouts) == LIMIT - 1 and failing not in rollouts
    benchmark.fails = False
    assert collect_run(tmp_path, *words, benchmark=benchmark) == 0
    assert len({line["task_id"] for line in read_lines(folder, "rollouts")}) == LIMIT
    # now the search succeeded, and only the leaves are decided anew
    benchmark.fails = True
    assert collect_run(tmp_path, *words, benchmark=benchmark) == 1
    assert "the outcome of a leaf could not be decided" in capsys.readouterr().out
    assert failing not in {line["task_id"] for line in read_lines(folder, "process")}
    assert json.loads((folder / "summary.json").read_text())["failures"] == [
        {"task_id": failing, "kind": "internal", "message": "ValueError: no such key"}
    ]
