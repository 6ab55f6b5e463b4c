"""List the StableToolBench queries that can be answered from recordings alone, and write them to a file.

Usage: python experiments/stabletoolbench_table/recorded_queries.py [--subset solvable] [--out queries.json]

A tool counts as recorded if the published cache has a successful call of it. The file has ToolBench's format, for
`benchmark=stabletoolbench benchmark.queries=FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.benchmarks.stabletoolbench import SHA256
from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.tools.toolbench.recorded_answers import PublishedAnswers
from codetool.types import Task, ToolCall


def main() -> None:
    """Print the counts and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subset", choices=("solvable", "paper", "left_out"), default="solvable")
    parser.add_argument("--out", type=Path, help="file of the queries whose tools are all recorded")
    options = parser.parse_args()
    if options.out and not os.environ.get("CODETOOL_DATA"):
        parser.error("--out copies published queries: set CODETOOL_DATA to the folder with stabletoolbench/")
    settings = validate(compose_all(["benchmark=stabletoolbench", f"benchmark.subset={options.subset}"])[0])
    cache = settings.tools.recorded_answers
    tasks = settings.benchmark.tasks()
    known = {task.id: recorded(task, cache) for task in tasks}
    print("| group | queries | all tools recorded | some |\n| --- | --- | --- | --- |")
    for group in SHA256:
        counts = Counter(kind(known[task.id]) for task in tasks if task.group == group)
        print(f"| {group} | {counts.total()} | {counts['all']} | {counts['all'] + counts['some']} |")
    chosen = {task.id for task in tasks if kind(known[task.id]) == "all"}
    print(f"| all | {len(tasks)} | {len(chosen)} | {sum(any(each) for each in known.values())} |")
    if options.out:
        folder = Path(os.environ["CODETOOL_DATA"]) / "stabletoolbench" / "solvable_queries"
        options.out.write_text(json.dumps(entries(folder, chosen), indent=1))


def recorded(task: Task, cache: PublishedAnswers) -> list[bool]:
    """Return, for each tool of a task, whether a successful call of it is recorded."""
    calls = [ToolCall("GET", tool.server + tool.path, {}, tool) for tool in task.tools]
    return [bool(cache.examples(call, 1)) for call in calls]


def kind(found: Sequence[bool]) -> str:
    """Return `all`, `some` or `none`."""
    return "all" if all(found) else "some" if any(found) else "none"


def entries(folder: Path, chosen: set[str]) -> list[Mapping[str, Any]]:
    """Return the published entries of these queries, each with its group."""
    return [
        {**entry, "group": group}
        for group in SHA256
        for entry in json.loads((folder / f"{group}.json").read_text())
        if str(entry["query_id"]) in chosen
    ]


if __name__ == "__main__":
    main()
