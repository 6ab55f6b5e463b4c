"""Export a run's results in the file layouts of the reference implementation and ToolBench (`export=reference`).

Their files hold one answer of each task, so each further repeat of the tasks has a folder of its own, `repeat-2` and so
on, with the same layout.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from codetool.config.run_config import RunConfig
from codetool.evaluation.result_files import TREES, TreeFile, read_results
from codetool.evaluation.result_records import parse_nodes
from codetool.prm.none import NoPRM
from codetool.process_data.reference_format.reference_results import ReferenceResults
from codetool.runs.repeats import get_original
from codetool.types import Task

EXPORT_FOLDER = "reference"


def export_results(config: RunConfig, choices: Mapping[str, str], path: Path, tasks: Sequence[Task]) -> Path:
    """Write the files of all tasks with a result, replacing older ones, and return their folder."""
    folder = path / EXPORT_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    for repeat in sorted({task.repeat for task in tasks}):
        of_repeat = folder if repeat == 1 else folder / f"repeat-{repeat}"
        _export_repeat(config, choices, path, [task for task in tasks if task.repeat == repeat], of_repeat)
    return folder


def _export_repeat(
    config: RunConfig, choices: Mapping[str, str], path: Path, tasks: Sequence[Task], folder: Path
) -> None:
    results = ReferenceResults(
        folder,
        model=str(config.settings["policy"].get("model") or choices["policy"]),
        method=choices["search"],
        policy_prompt=config.policy.prompt,
        latent=not isinstance(config.prm, NoPRM) and float(config.settings["reward"].get("latent", 1)) > 0,
    )
    tasks_by_id = {task.id: task for task in tasks}

    def with_group(task_id: str) -> tuple[Task, str]:
        task = get_original(tasks_by_id[task_id])
        return task, task.group or choices["benchmark"]

    lines = {line["task_id"]: line for line in read_results(path, tasks_by_id)}
    for tree in TreeFile(path / TREES).read_trees(tasks_by_id):
        if line := lines.pop(tree["task_id"], None):
            nodes = {node.id: node for node in parse_nodes(tree)}
            results.add(*with_group(tree["task_id"]), [nodes[name] for name in line["path"]], line["answer"])
    for task_id in lines:  # tasks that failed internally have no tree, but count in a mean over the files
        results.add(*with_group(task_id), [], None)
    results.finish()
