"""Read `results.jsonl` and `trees.jsonl`: one line per task, returned in benchmark order, not in file order.

If a task has several lines, which only damage or a manual copy causes, the last one counts and a warning is logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.result_records import RESULT_SHAPE, TREE_SHAPE
from codetool.runs import journal

RESULTS, TREES = "results.jsonl", "trees.jsonl"
LINE_SHAPE = {name: RESULT_SHAPE[name] for name in ("task_id", "repeat", "error", "metrics")}
"""The fields of a result line that statistics need."""

log = logging.getLogger(__name__)


def read_results(folder: Path, order: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return the result lines of the tasks in `order`, in that order; without an order those of all tasks, by id.

    Raises ConfigError for a line without a task id, an error or metrics that are numbers.
    """
    lines, repeated = journal.read_latest_records(folder / RESULTS, LINE_SHAPE)
    warn_about_duplicates(folder / RESULTS, repeated)
    order = sorted(lines, key=natural_sort_key) if order is None else order
    return [lines[task_id] for task_id in order if task_id in lines]


def read_finished_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the undamaged result lines of tasks that need not run again, by task id; empty without a folder."""
    parsed = (journal.parse_record(line, RESULT_SHAPE) for _, line in journal.read_complete_lines(folder / RESULTS))
    lines = {line["task_id"]: line for line in parsed if not isinstance(line, str)}
    return {task_id: line for task_id, line in lines.items() if not is_internal(line)}


def natural_sort_key(task_id: str) -> list[tuple[int, str]]:
    """Return a sort key that puts `dev-2` before `dev-10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", task_id) if part]


def warn_about_duplicates(file: Path, count: int) -> None:
    """Warn if `count` lines of the file were replaced by later lines of the same task."""
    if count:
        log.warning("%s: %d lines repeat a task. The last line of each task counts.", file, count)


class TreeFile:
    """Random access to the lines of `trees.jsonl` by task. Only offsets are kept, since trees may exceed the memory."""

    def __init__(self, file: Path) -> None:
        """Index the file; a missing file has no trees. Raises ConfigError for a line of another shape."""
        self._file = file
        self._offsets: dict[str, tuple[int, int]] = {}
        self.duplicates = 0
        """Number of lines that a later line of the same task replaces."""
        offset = 0
        for number, line in enumerate(journal.read_lines(file), start=1):
            if line.endswith(b"\n") and line.strip():
                task_id = journal.decode_record(file, number, line, {"task_id": str})["task_id"]
                self.duplicates += task_id in self._offsets
                self._offsets[task_id] = (offset, len(line))
            offset += len(line)

    def __contains__(self, task_id: str) -> bool:
        """Return whether the task has a tree."""
        return task_id in self._offsets

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of the tasks that have a tree, in file order."""
        return iter(self._offsets)

    def read_lines(self, order: Iterable[str]) -> Iterator[bytes]:
        """Yield the raw lines of these tasks, in this order; tasks without a tree are left out."""
        offsets = [self._offsets[task_id] for task_id in order if task_id in self._offsets]
        if not offsets:
            return
        with self._file.open("rb") as lines:
            for offset, length in offsets:
                lines.seek(offset)
                yield lines.read(length)

    def read_trees(self, order: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the decoded trees of these tasks, in this order; tasks without a tree are left out."""
        for number, line in enumerate(self.read_lines(order), start=1):
            yield journal.decode_record(self._file, number, line, TREE_SHAPE)
