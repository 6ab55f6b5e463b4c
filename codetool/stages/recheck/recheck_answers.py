"""Check stored answers again: new result lines from old ones, trees and a benchmark, and the verdicts that changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from codetool.concurrency import call_in_thread
from codetool.errors import CheckTimeoutError
from codetool.evaluation.error_taxonomy import TaskError, classify_error, is_internal, make_internal_error
from codetool.evaluation.metrics import compute_path_metrics, list_called_endpoints
from codetool.evaluation.result_files import TreeFile
from codetool.evaluation.result_records import parse_nodes
from codetool.evaluation.score_task import check_answer
from codetool.interfaces import Benchmark
from codetool.interfaces.evaluation import CHECK_SECONDS
from codetool.ledger import Ledger
from codetool.runs.repeats import find_task_id
from codetool.stages.evaluate_prm.prm_eval_dataset import recompute_tools
from codetool.types import JSON, Node, SearchResult, Task


@dataclass(frozen=True)
class Flip:
    """A verdict that changed."""

    task_id: str
    check: str
    """What decided: `success`, or `sopr` for the judge."""
    old: JSON
    new: JSON
    answer: str | None
    reference: JSON
    """The expected answer; None if the benchmark has none."""
    query: str


@dataclass(frozen=True)
class AnswerRechecker:
    """Checks the answers of a run by a benchmark."""

    benchmark: Benchmark
    tasks: Mapping[str, Task]
    """Tasks by the benchmark's id."""
    trees: TreeFile
    has_other_data: bool
    """Whether the benchmark's data are not those of the run, so that gold paths may have changed."""

    def check_all(self, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the lines with new verdicts. Lines of tasks that failed internally are returned as they are."""
        return asyncio.run(self._check_all(lines))

    async def _check_all(self, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [dict(line) if is_internal(line) else await self._check(line) for line in lines]

    async def _check(self, line: Mapping[str, Any]) -> dict[str, Any]:
        task = self.tasks[find_task_id(line)]
        try:
            success = await call_in_thread(lambda: check_answer(self.benchmark, task, line["answer"]), CHECK_SECONDS)
            error = self._classify(task, line, success)
        except TimeoutError:
            timeout = CheckTimeoutError(type(self.benchmark).__name__, CHECK_SECONDS)
            success, error = False, asdict(make_internal_error(timeout))
        except (Exception, SystemExit) as failure:  # a check may raise anything; the other answers are checked
            success, error = False, asdict(make_internal_error(failure))
        metrics = {**line["metrics"], "success": success}
        if self.has_other_data and (end := self._find_end(line, task)) is not None:
            metrics |= compute_path_metrics(task.gold, list(list_called_endpoints(end.path)))
        return {**line, "success": success, "metrics": metrics, "error": error}

    def _classify(self, task: Task, line: Mapping[str, Any], success: bool | None) -> Mapping[str, Any] | None:
        """Return the error of a line with a new verdict; that of an unchanged verdict stays."""
        if success == line["success"]:
            error: Mapping[str, Any] | None = line["error"]
            return error
        end = self._find_end(line, task)
        if success or end is None:
            return None if success else asdict(TaskError("wrong_answer", "the tree of this task is missing"))
        result = SearchResult(end, end.path, Ledger(), line["stopped_by"], line["answer"])
        made = classify_error(task, result, success)
        return asdict(made) if made else None

    def _find_end(self, line: Mapping[str, Any], task: Task) -> Node | None:
        """Return the last node of the chosen path; None without a tree."""
        tree = next(self.trees.read_trees([line["task_id"]]), None)
        if tree is None or not line["path"]:
            return None
        return recompute_tools(parse_nodes(tree), task.tools)[line["path"][-1]]


def find_flips(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], tasks: Mapping[str, Task]
) -> Iterator[Flip]:
    """Yield the verdicts of the checker and of the judge that differ between result lines of the same tasks.

    A judge's verdict is that more votes are Solved than Unsolved.
    """
    before = {line["task_id"]: line for line in old}
    for line in new:
        earlier = before[line["task_id"]]
        task = tasks.get(find_task_id(line))
        reference = None if task is None or task.answer is None else task.answer.value
        for check, first, second in (
            ("success", earlier["success"], line["success"]),
            ("sopr", _read_judged(earlier), _read_judged(line)),
        ):
            if first != second and not (check == "sopr" and None in (first, second)):
                yield Flip(line["task_id"], check, first, second, line["answer"], reference, line["query"])


def _read_judged(line: Mapping[str, Any]) -> bool | None:
    score = line["metrics"].get("sopr")
    return None if score is None else bool(score > 0.5)
