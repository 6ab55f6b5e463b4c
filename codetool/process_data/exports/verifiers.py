"""`export=verifiers`: every path as a scored rollout in the formats of verifiers.

`traces.jsonl` has the format that verifiers 0.2 and later record rollouts in (`verifiers.v1.Episode`): an episode for
each path to a leaf with a known outcome, with one trace, whose nodes are the messages of the path. Paths of a task have
one `group`, which is what group-relative algorithms compare. `results.jsonl` has the same rollouts in the flat format
of verifiers 0.1 (`RolloutOutput`): `prompt`, `completion`, `answer`, `reward`, `info` and others.

The reward is 1 for a leaf that succeeds, else 0. `samples` is how often the path was sampled. Token ids are not
written: a trainer tokenizes the messages with its own tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from codetool.process_data.exports.tree_export import (
    ExportSettings,
    LabelledTree,
    count_samples,
    encode_row,
    format_answer,
    render_path,
    write_rows,
)
from codetool.prompts.messages import Message
from codetool.types import Node

TRACE_VERSION = 1
"""Version of verifiers' trace schema."""


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `traces.jsonl` and `results.jsonl`, and return the number of rollouts."""
    results = folder / "results.jsonl"

    def make_both() -> Iterator[dict[str, Any]]:
        with results.open("wb") as file:
            for tree, leaf in _list_rollouts(trees):
                file.write(encode_row(make_result(tree, leaf, settings)))
                yield make_episode(tree, leaf, settings)

    return write_rows(folder / "traces.jsonl", make_both())


def make_episode(tree: LabelledTree, leaf: Node, settings: ExportSettings) -> dict[str, Any]:
    """Return a path as an episode of verifiers with one trace."""
    task = tree.rollout.task
    prompt, completion = render_path(settings.policy_prompt, task, leaf)
    data = {
        "idx": tree.index,
        "id": task.id,
        "prompt": [message for message in prompt if message["role"] != "system"],
        "answer": format_answer(task),
    }
    if system := [message["content"] for message in prompt if message["role"] == "system"]:
        data["system_prompt"] = "\n\n".join(system)
    described_task = {"type": "ToolUseTask", "data": data, "key": task.id}
    name = f"{task.id}/{leaf.id}"
    trace = {
        "version": TRACE_VERSION,
        "id": name,
        "task": described_task,
        "agent": {"config": {"model": settings.model}, "name": "agent"},
        "nodes": _make_nodes(prompt, completion),
        "rewards": {"success": {"score": _reward(tree, leaf), "weight": 1.0}},
        "metrics": _measure(leaf),
        "info": {"leaf_id": leaf.id, "samples": count_samples(leaf)},
        "is_completed": True,
        "ok": True,
        "stop_condition": "finished" if leaf.finished else "unfinished",
    }
    return {
        "id": name,
        "env": {"id": settings.benchmark},
        "task": described_task,
        "group": {"id": task.id},
        "ok": True,
        "traces": [trace],
    }


def make_result(tree: LabelledTree, leaf: Node, settings: ExportSettings) -> dict[str, Any]:
    """Return a path as a rollout in the flat format."""
    task = tree.rollout.task
    prompt, completion = render_path(settings.policy_prompt, task, leaf)
    return {
        "example_id": tree.index,
        "task": settings.benchmark,
        "prompt": prompt,
        "completion": completion,
        "answer": format_answer(task),
        "reward": _reward(tree, leaf),
        "metrics": {"success": _reward(tree, leaf), **_measure(leaf)},
        "info": {"task_id": task.id, "leaf_id": leaf.id, "samples": count_samples(leaf)},
        "timing": {},
        "is_completed": True,
        "is_truncated": not leaf.finished,
        "stop_condition": "finished" if leaf.finished else "unfinished",
    }


def _list_rollouts(trees: Iterable[LabelledTree]) -> Iterator[tuple[LabelledTree, Node]]:
    for tree in trees:
        if not tree.left_out:
            for leaf in tree.rollout.find_leaves():
                if leaf.id in tree.rollout.outcomes:
                    yield tree, leaf


def _reward(tree: LabelledTree, leaf: Node) -> float:
    return float(tree.rollout.outcomes[leaf.id])


def _measure(leaf: Node) -> dict[str, float]:
    return {"steps": float(leaf.depth), "failed_steps": float(sum(node.spot == 0 for node in leaf.path))}


def _make_nodes(prompt: Sequence[Message], completion: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the message graph of a path: a chain, in which the policy's messages are marked as sampled."""
    sampled = [False] * len(prompt) + [message["role"] == "assistant" for message in completion]
    return [
        {"parent": index - 1 if index else None, "message": dict(message), "sampled": is_sampled}
        for index, (message, is_sampled) in enumerate(zip([*prompt, *completion], sampled, strict=True))
    ]
