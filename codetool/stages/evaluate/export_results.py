"""`export=reference` of stage=evaluate: a run's results in the layouts that others' evaluation scripts read."""

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
    """The folder that holds the files of all tasks with a result, written anew."""
    folder = path / EXPORT_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    results = ReferenceResults(
        folder,
        model=str(config.settings["policy"]["model"]),
        method=choices["search"],
        policy_prompt=config.policy.prompt,
        latent=not isinstance(config.prm, NoPRM) and float(config.settings["reward"]["latent"]) > 0,
    )
    known = {task.id: task for task in tasks}

    def in_its_set(task: Task) -> tuple[Task, str]:
        return task, task.group or choices["benchmark"]

    lines = {line["task_id"]: line for line in read_results(path, known)}
    for tree in TreeFile(path / TREES).read_trees(known):
        if line := lines.pop(tree["task_id"], None):
            nodes = {node.id: node for node in parse_nodes(tree)}
            results.add(*in_its_set(known[tree["task_id"]]), [nodes[name] for name in line["path"]], line["answer"])
    for name in lines:  # tasks that failed internally have no tree; whoever divides by the files counts them
        results.add(*in_its_set(known[name]), [], None)
    results.finish()
    return folder
