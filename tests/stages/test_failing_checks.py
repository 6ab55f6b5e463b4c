"""A benchmark's check that fails on one task costs that task alone, in every stage that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable
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
LIMIT = 4


@dataclass
class FailingBenchmark:
    """A benchmark whose check fails on the second task while `fails`."""

    fail: Callable[[], Any]
    fails: bool = True
    on_no_answer: bool = True
    checked: list[str] = field(default_factory=list)

    def tasks(self) -> list[Task]:
        return list(REAL.tasks())

    def checksum(self) -> str:
        return REAL.checksum()

    def check(self, task: Task, answer: str | None) -> Any:
        self.checked.append(task.id)
        if self.fails and task.id == self.tasks()[1].id and (answer is not None or self.on_no_answer):
            return self.fail()
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


@pytest.mark.parametrize(("fail", "message"), FAILURES, ids=[message.split(":")[0] for _, message in FAILURES])
def test_a_check_that_fails_costs_its_task_alone_and_is_asked_again(
    tmp_path: Path, policy: ChatServer, fail: Callable[[], Any], message: str
) -> None:
    words = (*scripted(policy), "search=chain", f"limit={LIMIT}")
    benchmark = FailingBenchmark(fail)
    outcome = evaluate_run(tmp_path, *words, benchmark=benchmark)
    assert outcome.failed == 1
    results = {line["task_id"]: line for line in read_lines(outcome.folder, "results")}
    assert len(results) == LIMIT
    failed = results.pop(benchmark.tasks()[1].id)
    assert failed["error"]["kind"] == "internal" and failed["error"]["message"].startswith(message)
    assert failed["success"] is False and failed["answer"] is None
    assert failed["ledger"]["tokens_out"] > 0 and failed["ledger"]["executions"] > 0  # what was spent is not lost
    content = read_metrics(outcome.folder)
    assert content["metrics"]["success"]["n"] == LIMIT  # counts as unsolved, and is named
    assert content["metrics"]["success"]["value"] == sum(line["success"] for line in results.values()) / LIMIT
    assert [each["task_id"] for each in content["tasks"]["failures"]] == [failed["task_id"]]
    total = sum(line["ledger"]["tokens_out"] for line in [failed, *results.values()])
    assert content["totals"]["tokens_out"] == total
    asked, benchmark.fails = len(policy.requests), False
    again = evaluate_run(tmp_path, *words, benchmark=benchmark)
    assert again.failed == 0 and again.folder == outcome.folder
    assert len(policy.requests) == asked  # its candidates were kept
    assert len(read_lines(outcome.folder, "results")) == len(read_lines(outcome.folder, "trees")) == LIMIT


def test_a_check_that_fails_without_an_answer_too_is_no_other_matter(tmp_path: Path, policy: ChatServer) -> None:
    policy.handler = lambda body: Reply(status=400, body={"error": {"message": "out of order"}})
    outcome = evaluate_run(
        tmp_path, *scripted(policy), "search=chain", "limit=2", benchmark=FailingBenchmark(raising(KeyError("x")))
    )
    assert outcome.failed == 2
    assert {line["error"]["kind"] for line in read_lines(outcome.folder, "results")} == {"internal"}
    assert all("out of order" in line["error"]["message"] for line in read_lines(outcome.folder, "results"))


def test_numpys_truth_values_are_answers(tmp_path: Path, policy: ChatServer) -> None:
    benchmark = FailingBenchmark(lambda: np.bool_(True))
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
    benchmark = FailingBenchmark(raising(ValueError("no such key")), on_no_answer=False)
    assert collect_run(tmp_path, *words, benchmark=benchmark) > 0
    [folder] = tmp_path.glob("collect/*")
    failing = benchmark.tasks()[1].id
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
