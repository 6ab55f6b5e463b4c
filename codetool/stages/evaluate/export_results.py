"""Export a run's results in the file layouts of the reference implementation and ToolBench (`export=reference`)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from codetool.config.run_config import RunConfig
from codetool.evaluation.result_files import TREES, TreeFile, read_results
from codetool.evaluation.result_records import parse_nodes
from codetool.prm.none import NoPRM
from codetool.process_data.reference_format.reference_results import ReferenceResults
from codetool.types import Task

EXPORT_FOLDER = "reference"


def export_results(config: RunConfig, choices: Mapping[str, str], path: Path, tasks: Sequence[Task]) -> Path:
    """Write the files of all tasks with a result, replacing older ones, and return their folder."""
    folder = path / EXPORT_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    results = ReferenceResults(
        folder,
        model=str(config.settings["policy"].get("model") or choices["policy"]),
        method=choices["search"],
        policy_prompt=config.policy.prompt,
        latent=not isinstance(config.prm, NoPRM) and float(config.settings["reward"].get("latent", 1)) > 0,
    )
    tasks_by_id = {task.id: task for task in tasks}

    def with_group(task_id: str) -> tuple[Task, str]:
        task = tasks_by_id[task_id]
        return task, task.group or choices["benchmark"]

    lines = {line["task_id"]: line for line in read_results(path, tasks_by_id)}
    for tree in TreeFile(path / TREES).read_trees(tasks_by_id):
        if line := lines.pop(tree["task_id"], None):
            nodes = {node.id: node for node in parse_nodes(tree)}
            results.add(*with_group(tree["task_id"]), [nodes[name] for name in line["path"]], line["answer"])
    for task_id in lines:  # tasks that failed internally have no tree, but count in a mean over the files
        results.add(*with_group(task_id), [], None)
    results.finish()
    return folder
