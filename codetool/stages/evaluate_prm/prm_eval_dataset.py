"""Load the steps that a PRM is evaluated on, with their tasks, paths and executions as in a search.

The labels and estimates come from `process.jsonl`. The prefixes in that file depend on a prompt, so a PRM's input is
built from `rollouts.jsonl` and from the benchmark that `config.yaml` names.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from codetool.errors import ConfigError, MissingError
from codetool.evaluation.result_records import parse_nodes
from codetool.model_types import ProcessExample
from codetool.process_data import examples
from codetool.runs import journal, provenance
from codetool.runs.identity import OPTION_KEY
from codetool.stages.report import load_tasks, read_settings
from codetool.tools.call_key import route_request
from codetool.types import HttpRequest, Node, Task, Tool, ToolAnswer

ROLLOUTS = "rollouts.jsonl"
FOLDER_HINT = "Name the whole folder that stage=collect has written: evaluate_prm.runs=[outputs/collect/NAME]"


@dataclass(frozen=True)
class Siblings:
    """The steps that follow the same path, each with its process example and its node."""

    task: Task
    path: Sequence[Node]
    examples: Sequence[ProcessExample]
    nodes: Sequence[Node]


@dataclass(frozen=True)
class PRMEvalDataset:
    """The steps that a PRM is evaluated on, grouped by siblings."""

    benchmarks: Sequence[str]
    """Names of the tasks' benchmarks."""
    checksums: Mapping[str, str]
    """Hex sha256 of each data source that the scores depend on, by name."""
    groups: Sequence[Siblings]
    """Sibling groups in the order of their tasks."""
    tasks: Mapping[str, Task]
    questions: Mapping[str, str] = field(default_factory=dict)
    """Question of each task whose paths compete with those of other tasks, by task id."""
    outcomes: Mapping[str, float] = field(default_factory=dict)
    """Success of each task's only path, 0 or 1, if the estimate of its last step is something else."""
    estimate_name: str = "leaves below that succeed"
    """Name of the mean estimate on an axis."""
    note: str = ""
    """What the labels and estimates mean, if not what those of rollouts mean."""

    def without(self, failed: Container[str]) -> PRMEvalDataset:
        """Return the dataset without the tasks in `failed`."""
        groups = [group for group in self.groups if group.task.id not in failed]
        tasks = {name: task for name, task in self.tasks.items() if name not in failed}
        return replace(self, groups=groups, tasks=tasks)

    @property
    def examples(self) -> list[ProcessExample]:
        """All process examples, without their prefixes."""
        return [example for group in self.groups for example in group.examples]


def load_prm_eval_dataset(paths: Sequence[Path], limit: int | None) -> PRMEvalDataset:
    """Load the steps of the first `limit` tasks, in the order of the folders and of their benchmarks.

    Raises MissingError if a file or the benchmark is missing, ConfigError if files do not belong together.
    """
    benchmarks: dict[str, None] = {}
    checksums: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    groups: list[Siblings] = []
    for number, path in enumerate(paths, start=1):
        file = path / examples.PROCESS_FILE if path.is_dir() else path
        folder = _check_folder(file)
        benchmark_tasks = _load_tasks(folder)
        benchmarks[str(provenance.read_provenance(folder).identity.settings["benchmark"][OPTION_KEY])] = None
        checksums[f"data {number}"] = _compute_checksum(file)
        by_group = _group_siblings(file, benchmark_tasks)
        if repeated_task := next((name for name in by_group if name in tasks), None):
            raise ConfigError(
                f"evaluate_prm.runs: {folder} and another folder hold the task {repeated_task}. Measure them apart."
            )
        for name, siblings in islice(by_group.items(), None if limit is None else limit - len(tasks)):
            tasks[name] = siblings[0].task
            groups += siblings
    return PRMEvalDataset(list(benchmarks), checksums, groups, tasks)


def _check_folder(file: Path) -> Path:
    """Return the folder of a file of examples. Raises MissingError if one of the needed files is missing."""
    if not file.exists():
        raise MissingError(f"evaluate_prm.runs: {file} is not there. {FOLDER_HINT}")
    for each in (file, file.parent / ROLLOUTS, file.parent / "config.yaml", file.parent / provenance.PROVENANCE_FILE):
        if not each.is_file():
            raise MissingError(
                f"evaluate_prm.runs: there is no {each.name} in {each.parent}, and a PRM's input is made of it. "
                f"{FOLDER_HINT}"
            )
    return file.parent


def _load_tasks(folder: Path) -> Sequence[Task]:
    try:
        return load_tasks(folder, read_settings(folder))
    except (MissingError, OSError) as error:
        raise MissingError(f"evaluate_prm.runs: {folder}: {error}") from error


def _group_siblings(file: Path, tasks: Sequence[Task]) -> dict[str, list[Siblings]]:
    """Return the sibling groups of each task, in the benchmark's order."""
    by_group: defaultdict[str, defaultdict[str, list[ProcessExample]]] = defaultdict(lambda: defaultdict(list))
    for example in examples.load_examples([file]):
        by_group[example.task_id][example.group].append(replace(example, prefix=()))
    for groups in by_group.values():
        for siblings in groups.values():
            siblings.sort(key=lambda example: _tree_order(example.node_id))
    task_by_id = {task.id: task for task in tasks}
    trees = dict(_read_trees(file.parent / ROLLOUTS, task_by_id))
    if unknown_task := next((name for name in by_group if name not in task_by_id or name not in trees), None):
        raise ConfigError(
            f"{file}: the task {unknown_task} is not in {ROLLOUTS}, or not in the benchmark. {FOLDER_HINT}"
        )
    in_order = {name: [groups[each] for each in sorted(groups, key=_tree_order)] for name, groups in by_group.items()}
    return {
        name: [_match_nodes(task, trees[name], group, file) for group in in_order[name]]
        for name, task in task_by_id.items()
        if name in by_group
    }


def _tree_order(node_id: str) -> list[int]:
    """Return a sort key that puts nodes in the order of the tree."""
    return [int(number) for number in node_id.split("-") if number.isdigit()]


def _match_nodes(task: Task, tree: Mapping[str, Node], group: Sequence[ProcessExample], file: Path) -> Siblings:
    nodes: list[Node] = []
    for example in group:
        node = tree.get(example.node_id)
        if not (node and node.step and node.parent) or (node.step.text, node.parent.id) != (
            example.step,
            example.group,
        ):
            raise ConfigError(
                f"{file}: step {example.node_id} of {task.id} is another one in {ROLLOUTS}. The two do not belong "
                "together: run stage=collect again."
            )
        nodes.append(node)
    return Siblings(task, nodes[0].path[:-1], group, nodes)


def _read_trees(file: Path, tasks: Mapping[str, Task]) -> Iterator[tuple[str, dict[str, Node]]]:
    """Yield the id of each of these tasks with the nodes of its tree by node id."""
    for line in journal.read_records(file):
        try:
            if (task := tasks.get(line["task_id"])) is not None:
                yield task.id, recompute_tools(parse_nodes(line), task.tools)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{file} holds lines of another version ({error!r})") from error


def recompute_tools(nodes: Sequence[Node], tools: tuple[Tool, ...]) -> dict[str, Node]:
    """Return the nodes by id, with the tool that each call matched, which is not recorded but may be read by a PRM."""
    nodes_by_id: dict[str, Node] = {}
    for node in nodes:
        parent = nodes_by_id[node.parent.id] if node.parent else None
        execution = node.execution
        if execution and execution.calls:
            execution = replace(execution, calls=tuple(_recompute_tool(answer, tools) for answer in execution.calls))
        nodes_by_id[node.id] = replace(node, parent=parent, execution=execution)
    return nodes_by_id


def _recompute_tool(answer: ToolAnswer, tools: tuple[Tool, ...]) -> ToolAnswer:
    call = answer.call
    return replace(answer, call=replace(call, tool=route_request(HttpRequest(call.method, call.url), tools).tool))


def _compute_checksum(file: Path) -> str:
    """Return the hex sha256 of the examples, of their trees and of the benchmark's settings and data."""
    digest = hashlib.sha256()
    for each in (file, file.parent / ROLLOUTS):
        with each.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    identity = provenance.read_provenance(file.parent).identity
    benchmark_identity = [identity.settings["benchmark"], identity.checksums.get("benchmark")]
    digest.update(json.dumps(benchmark_identity, sort_keys=True, default=str).encode())
    return digest.hexdigest()
