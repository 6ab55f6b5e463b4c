"""What is recorded of one task: the lines for `results.jsonl` and `trees.jsonl` that its search or its failure gives.

Scoring calls a benchmark's check, which may be a third party's code. Whatever it raises is for the caller to record
with `failure`, so that one task can never end a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codetool.answers.final_answer import answer_of
from codetool.evaluation.error_taxonomy import classify_error, make_internal_error
from codetool.evaluation.metrics import compute_metrics
from codetool.evaluation.result_records import build_result_line, build_tree_line
from codetool.interfaces import Benchmark
from codetool.types import JSON, Ledger, SearchResult, Task


@dataclass(frozen=True)
class TaskRecord:
    """The lines of a task."""

    result: dict[str, JSON]
    """For `results.jsonl`."""
    tree: dict[str, JSON] | None
    """For `trees.jsonl`; None for a task that failed internally."""


def score_task(task: Task, result: SearchResult, benchmark: Benchmark, seconds: float) -> TaskRecord:
    """The record of a task whose search has ended; `seconds` is wall time. Raises what the benchmark's check raises."""
    success = check_answer(benchmark, task, answer_of(result))
    error = classify_error(task, result, success)
    line = build_result_line(task, result, success, compute_metrics(task, result, success, seconds), seconds, error)
    return TaskRecord(line, build_tree_line(task, result))


def record_failure(
    task: Task, error: BaseException, ledger: Ledger, benchmark: Benchmark, seconds: float
) -> TaskRecord:
    """The record of a task that failed internally; `ledger` is what it had spent until then. Never raises.

    Its `success` is false where the benchmark checks answers, and None where it does not or cannot say.
    """
    try:
        success = check_answer(benchmark, task, None)
    except (Exception, SystemExit):
        success = None if task.answer is None else False
    values = compute_metrics(task, None, success, seconds, ledger)
    return TaskRecord(build_result_line(task, None, success, values, seconds, make_internal_error(error), ledger), None)


def check_answer(benchmark: Benchmark, task: Task, answer: str | None) -> bool | None:
    """Whether the benchmark accepts the answer; None where it has no checked answer.

    Raises what its check raises, and TypeError if that returns anything but a truth value (NumPy's included) or None.
    """
    accepted: Any = benchmark.check(task, answer)
    if accepted is None or isinstance(accepted, bool):
        return accepted
    if type(accepted).__module__ == "numpy" and type(accepted).__name__ in ("bool", "bool_"):
        return bool(accepted)
    raise TypeError(
        f"the check of {type(benchmark).__name__} returned {accepted!r:.60} for task {task.id}; "
        "allowed are True, False and None"
    )
