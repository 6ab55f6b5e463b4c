"""Sum up `tools.jsonl`: the number of tool calls by answering source, one line per finished attempt at a task.

The line of an attempt is written with its result line, so that a killed attempt, which is repeated as a whole, is not
counted. Of a task's successful attempts the last one counts; every attempt that failed internally counts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

from codetool.runs import journal
from codetool.stages.run_folder import TOOL_COUNTS, TOOL_COUNTS_SHAPE


def read_counts(folder: Path, tasks: Container[str] | None = None) -> dict[str, Any]:
    """Return the sum over these tasks, by default all: `calls`, and by name `provenance`, `failures` and `cache`.

    Empty if no tool was called.
    """
    failed: list[dict[str, Any]] = []
    successful: dict[str, dict[str, Any]] = {}
    for line in journal.read_records(folder / TOOL_COUNTS, TOOL_COUNTS_SHAPE):
        if line["failed"] and (tasks is None or line["task_id"] in tasks):
            failed.append(line)
        elif tasks is None or line["task_id"] in tasks:
            successful[line["task_id"]] = line
    lines = [*failed, *successful.values()]
    if not lines:
        return {}
    names = ("provenance", "failures", "cache")
    totals = {name: sum((Counter(line[name]) for line in lines), Counter[str]()) for name in names}
    return {"calls": sum(line["calls"] for line in lines)} | {
        name: dict(sorted(total.items())) for name, total in totals.items()
    }
