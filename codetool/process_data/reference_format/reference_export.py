"""The files of the CodeTool paper's own implementation, written from our rollouts.

    process_data/<set>/dfs_data/<id>_path.json        every path, and what running it did
    process_data/<set>/path_scored/<id>_scored.json   the same with estimates
    process_data/<set>/pair_path/<id>_pair.json       siblings that differ
    rm_train_data/<set>.json, dataset_info.json       training records that LLaMA-Factory reads

Paths are named from a root `1`, so our step `2-1` is `1-2-1`. Training records hold exactly the messages that our PRMs
are asked, so that what is trained on them can be used here. Keys that only we write are `multiplicity` and `weights`
(of the pairs, in their order), and `prefixes` (what a PRM reads before a step, by the name of the path so far).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from codetool.interfaces import Prompt, ScoringPrompt
from codetool.model_types import ProcessExample
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree
from codetool.process_data.labels import pair_siblings
from codetool.process_data.rollouts import Rollout
from codetool.prompts.step_format import format_stop_marker
from codetool.types import JSON, Execution, Node

ROOT = "1"
"""How the reference names the path without steps."""


def format_path_name(node_id: str) -> str:
    """The reference's name of a step, `1-2-1` for `2-1`; of the root, `0`, it is `1`."""
    return ROOT if node_id == "0" else f"{ROOT}-{node_id}"


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write the files of all trees, and return the number of training records."""
    export = ReferenceExport(
        folder, settings.benchmark, settings.policy_prompt, settings.prm_prompt, settings.estimator
    )
    for tree in trees:
        export.add(tree.rollout, tree.examples, tree.kept)
    return export.finish()


@dataclass
class ReferenceExport:
    """Writes the files of one set; add every tree, then finish."""

    folder: Path
    """Where `process_data` and `rm_train_data` are made."""
    name: str
    """Name of the set."""
    policy_prompt: Prompt
    prm_prompt: ScoringPrompt
    estimate: Literal["hard", "soft"]
    """What tells siblings apart."""
    _records: list[JSON] = field(default_factory=list)

    def add(self, rollout: Rollout, examples: Sequence[ProcessExample], kept: Iterable[ProcessExample]) -> None:
        """Write the three files of a task. `kept` are those of its examples that are to be trained on."""
        scores = {example.node_id: _describe_scores(example) for example in examples}
        head = {
            "q_id": rollout.task.id,
            "query": rollout.task.query,
            "instruction": self.policy_prompt.messages(rollout.task, ())[0]["content"],
        }
        nodes = [node for node in rollout.nodes if node.step]
        nodes.sort(key=lambda node: [int(place) for place in node.id.split("-")])  # the reference goes depth first
        paths = {node.id: describe_path(node, is_leaf=node.id in rollout.outcomes) for node in nodes}
        executions = {format_path_name(node.id): describe_execution(node) for node in nodes}
        scored = {node_id: path | scores.get(node_id, {}) for node_id, path in paths.items()}
        prefixes = {
            format_path_name(example.group): [dict(message) for message in example.prefix] for example in examples
        }
        found = pair_siblings(examples, self.estimate)
        name = quote(rollout.task.id, safe="")
        self._write("dfs_data", f"{name}_path", head | {"infer_path": [*paths.values()], "exec_res": executions})
        self._write(
            "path_scored",
            f"{name}_scored",
            head | {"infer_path": [*scored.values()], "exec_res": executions, "prefixes": prefixes},
        )
        self._write(
            "pair_path",
            f"{name}_pair",
            head
            | {
                "pair_path": [[scored[pair.first.node_id], scored[pair.second.node_id]] for pair in found],
                "exec_res": executions,
                "weights": [pair.weight for pair in found],
            },
        )
        self._records += [self._make_record(example) for example in kept if example.label is not None]

    def finish(self) -> int:
        """Write the training records and how LLaMA-Factory is to read them, and return the number of records."""
        info = {
            self.name: {
                "file_name": f"{self.name}.json",
                "formatting": "sharegpt",
                "columns": {"messages": "conversations", "system": "system"},
            }
        }
        write_json(self.folder / "rm_train_data" / f"{self.name}.json", self._records)
        write_json(self.folder / "rm_train_data" / "dataset_info.json", info)
        return len(self._records)

    def _make_record(self, example: ProcessExample) -> JSON:
        k = example.node_id.count("-") + 1
        system, user = self.prm_prompt.with_candidate(example.prefix, k, example.step)
        return {
            "conversations": [
                {"from": "human", "value": user["content"]},
                {"from": "gpt", "value": "yes" if example.label else "no"},
            ],
            "system": system["content"],
        }

    def _write(self, kind: str, name: str, content: JSON) -> None:
        write_json(self.folder / "process_data" / self.name / kind / f"{name}.json", content)


def describe_path(node: Node, *, is_leaf: bool) -> dict[str, Any]:
    """A path with all its steps, each closed by its marker."""
    steps = [f"{each.step.text}\n{format_stop_marker(k)}\n" for k, each in enumerate(node.path, start=1) if each.step]
    return {"path_name": format_path_name(node.id), "content": "".join(steps), "is_leaf": is_leaf}


def describe_execution(node: Node) -> dict[str, Any]:
    """The program of the whole path, and what its last step did."""
    execution = node.execution or Execution("no_code")
    said = [part for part in (execution.observation, execution.error) if part]
    failed = 2 if execution.status == "tool_failed" else 1
    return {
        "code": "\n".join(each.step.code for each in node.path if each.step and each.step.code is not None),
        "res": "\n".join(said),
        "status": 0 if node.spot > 0 else failed,
    }


def _describe_scores(example: ProcessExample) -> dict[str, Any]:
    return {
        "current_exec": example.executed,
        "soft_estimate": example.soft,
        "hard_estimate": int(example.hard),
        "latent_reward": example.latent,
        "multiplicity": example.multiplicity,
    }


def write_json(file: Path, content: JSON) -> None:
    """Write a file of JSON below folders that are made for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # not synced: thousands of files would wait for the disk, and all of them can be written again
    file.write_bytes(json.dumps(content, ensure_ascii=False, indent=4).encode("utf-8", "backslashreplace"))
