"""Score one task: check its answer, classify its error, and build its lines for `results.jsonl` and `trees.jsonl`.

Scoring calls a benchmark's check, which may be third-party code. The caller records whatever it raises with
`record_failure`, so that one task can never end a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codetool.answers.final_answer import extract_answer
from codetool.concurrency import call_in_thread
from codetool.errors import CheckTimeoutError
from codetool.evaluation.error_taxonomy import classify_error, make_internal_error
from codetool.evaluation.metrics import compute_metrics
from codetool.evaluation.result_records import build_result_line, build_tree_line
from codetool.interfaces import Benchmark
from codetool.interfaces.evaluation import CHECK_SECONDS
from codetool.ledger import Ledger
from codetool.runs.repeats import get_original
from codetool.types import JSON, SearchResult, Task


@dataclass(frozen=True)
class TaskRecord:
    """The lines of a task in the run's files."""

    result: dict[str, JSON]
    """Line for `results.jsonl`."""
    tree: dict[str, JSON] | None
    """Line for `trees.jsonl`; None for a task that failed internally."""


def score_task(task: Task, result: SearchResult, benchmark: Benchmark, seconds: float) -> TaskRecord:
    """Return the record of a finished search; `seconds` is wall time. Raises what the benchmark's check raises."""
    success = check_answer(benchmark, task, extract_answer(result))
    error = classify_error(task, result, success)
    line = build_result_line(task, result, success, compute_metrics(task, result, success, seconds), seconds, error)
    return TaskRecord(line, build_tree_line(task, result))


async def score_task_in_thread(
    task: Task, result: SearchResult, benchmark: Benchmark, seconds: float, limit: float = CHECK_SECONDS
) -> TaskRecord:
    """Score a task in a thread, so that a slow check delays no other task.

    Raises what `score_task` raises, and CheckTimeoutError if it takes longer than `limit` seconds.
    """
    try:
        return await call_in_thread(lambda: score_task(task, result, benchmark, seconds), limit)
    except TimeoutError as error:
        raise CheckTimeoutError(type(benchmark).__name__, limit) from error


def record_failure(
    task: Task, error: BaseException, ledger: Ledger, benchmark: Benchmark, seconds: float
) -> TaskRecord:
    """Return the record of a task that failed internally; `ledger` is its cost until then. Never raises.

    `success` is false if the benchmark can check answers, and None if it cannot.
    """
    try:
        if isinstance(error, CheckTimeoutError):
            raise error
        success = check_answer(benchmark, task, None)
    except (Exception, SystemExit):
        success = None if task.answer is None else False
    values = compute_metrics(task, None, success, seconds, ledger)
    return TaskRecord(build_result_line(task, None, success, values, seconds, make_internal_error(error), ledger), None)


def check_answer(benchmark: Benchmark, task: Task, answer: str | None) -> bool | None:
    """Return whether the benchmark accepts the answer; None if it has no reference answer.

    Raises what its check raises, and TypeError if the check returns anything but a bool (NumPy's included) or None.
    """
    accepted: Any = benchmark.check(get_original(task), answer)
    if accepted is None or isinstance(accepted, bool):
        return accepted
    if type(accepted).__module__ == "numpy" and type(accepted).__name__ in ("bool", "bool_"):
        return bool(accepted)
    raise TypeError(
        f"the check of {type(benchmark).__name__} returned {accepted!r:.60} for task {task.id}; "
        "allowed are True, False and None"
    )
