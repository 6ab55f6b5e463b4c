"""The steps that a PRM is measured on, as it meets them in a search: with their tasks, paths and executions.

`process.jsonl` says how good the steps are; what a PRM reads is its own affair, so its input is put together again from
the other files of the folder, `rollouts.jsonl` and the `config.yaml` that names the benchmark.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """Steps after the same path, each with its node."""

    task: Task
    path: Sequence[Node]
    examples: Sequence[ProcessExample]
    nodes: Sequence[Node]


@dataclass(frozen=True)
class PRMEvalDataset:
    """What a PRM is measured on."""

    benchmarks: Sequence[str]
    """Names of the benchmarks that the tasks are of."""
    checksums: Mapping[str, str]
    """Hex sha256 of all that the scores depend on, by name."""
    groups: Sequence[Siblings]
    """In the order of their tasks."""
    tasks: Mapping[str, Task]

    def without(self, failed: Container[str]) -> PRMEvalDataset:
        """The data without some tasks."""
        groups = [group for group in self.groups if group.task.id not in failed]
        tasks = {name: task for name, task in self.tasks.items() if name not in failed}
        return replace(self, groups=groups, tasks=tasks)

    @property
    def examples(self) -> list[ProcessExample]:
        """Every step, without its prefix."""
        return [example for group in self.groups for example in group.examples]


def load_prm_eval_dataset(paths: Sequence[Path], limit: int | None) -> PRMEvalDataset:
    """The steps of the first so many tasks, in the order of the folders and their benchmarks.

    Raises MissingError if a file or the benchmark is not there, ConfigError if files do not belong together.
    """
    benchmarks: dict[str, None] = {}
    checksums: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    groups: list[Siblings] = []
    for number, path in enumerate(paths, start=1):
        file = path / examples.PROCESS_FILE if path.is_dir() else path
        folder = _check_folder(file)
        asked = _load_tasks(folder)
        benchmarks[str(provenance.read_provenance(folder).identity.settings["benchmark"][OPTION_KEY])] = None
        checksums[f"data {number}"] = _compute_checksum(file)
        found = _group_siblings(file, asked)
        if twice := next((name for name in found if name in tasks), None):
            raise ConfigError(
                f"evaluate_prm.runs: {folder} and another folder hold the task {twice}. Measure them apart."
            )
        for name, siblings in islice(found.items(), None if limit is None else limit - len(tasks)):
            tasks[name] = siblings[0].task
            groups += siblings
    return PRMEvalDataset(list(benchmarks), checksums, groups, tasks)


def _check_folder(file: Path) -> Path:
    """The folder of a file of examples, with all that belongs to it."""
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
    """The siblings of each task, in the benchmark's order."""
    found: defaultdict[str, defaultdict[str, list[ProcessExample]]] = defaultdict(lambda: defaultdict(list))
    for example in examples.load_examples([file]):
        found[example.task_id][example.group].append(replace(example, prefix=()))
    for groups in found.values():
        for siblings in groups.values():
            siblings.sort(key=lambda example: _tree_order(example.node_id))
    known = {task.id: task for task in tasks}
    trees = dict(_read_trees(file.parent / ROLLOUTS, known))
    if strange := next((name for name in found if name not in known or name not in trees), None):
        raise ConfigError(f"{file}: the task {strange} is not in {ROLLOUTS}, or not in the benchmark. {FOLDER_HINT}")
    in_order = {name: [groups[each] for each in sorted(groups, key=_tree_order)] for name, groups in found.items()}
    return {
        name: [_match_nodes(task, trees[name], group, file) for group in in_order[name]]
        for name, task in known.items()
        if name in found
    }


def _tree_order(node_id: str) -> list[int]:
    """Sort key that puts nodes in the order of the tree, whatever order the file has."""
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
    """The nodes of each of these tasks by their ids."""
    for line in journal.read_records(file):
        try:
            if (task := tasks.get(line["task_id"])) is not None:
                yield task.id, _recompute_tools(parse_nodes(line), task.tools)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{file} holds lines of another version ({error!r})") from error


def _recompute_tools(nodes: Sequence[Node], tools: tuple[Tool, ...]) -> dict[str, Node]:
    """The nodes with the operations that their calls matched, which are not recorded and which a PRM may look at."""
    made: dict[str, Node] = {}
    for node in nodes:
        parent = made[node.parent.id] if node.parent else None
        execution = node.execution
        if execution and execution.calls:
            execution = replace(execution, calls=tuple(_recompute_tool(answer, tools) for answer in execution.calls))
        made[node.id] = replace(node, parent=parent, execution=execution)
    return made


def _recompute_tool(answer: ToolAnswer, tools: tuple[Tool, ...]) -> ToolAnswer:
    call = answer.call
    return replace(answer, call=replace(call, tool=route_request(HttpRequest(call.method, call.url), tools).tool))


def _compute_checksum(file: Path) -> str:
    """Hex sha256 of the examples, of their trees and of what the benchmark says of their tasks."""
    digest = hashlib.sha256()
    for each in (file, file.parent / ROLLOUTS):
        with each.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    identity = provenance.read_provenance(file.parent).identity
    told = [identity.settings["benchmark"], identity.checksums.get("benchmark")]
    digest.update(json.dumps(told, sort_keys=True, default=str).encode())
    return digest.hexdigest()
