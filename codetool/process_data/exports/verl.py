"""`export=verl`: the tasks of the trees as prompts for reinforcement learning with verl.

`train.jsonl` has the fields of verl's RL data (verl.readthedocs.io, "Prepare Data for Post-Training"): `data_source`,
`prompt`, `ability`, `reward_model` with `style` and `ground_truth`, and `extra_info`. verl reads `.jsonl` as it reads
Parquet. A row is a task, with the first prompt of the policy; the policy under training draws its own rollouts.

`ground_truth` is the reference answer as JSON text with `type` and `value`, for `style: rule`; a task without one has
an empty text and `style: model`. What the tree tells of the task is in `extra_info`: the number of sampled paths with
an outcome and the share of them that succeed, by which tasks that are always or never solved can be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codetool.process_data.exports.tree_export import (
    ExportSettings,
    LabelledTree,
    count_samples,
    format_answer,
    write_rows,
)


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `train.jsonl`, and return the number of tasks."""
    return write_rows(folder / "train.jsonl", (make_row(tree, settings) for tree in trees if not tree.left_out))


def make_row(tree: LabelledTree, settings: ExportSettings) -> dict[str, Any]:
    """Return the row of a tree's task."""
    task = tree.rollout.task
    samples = dict(_count_outcomes(tree))
    paths = samples[True] + samples[False]
    answer = format_answer(task)
    return {
        "data_source": settings.benchmark,
        "prompt": settings.policy_prompt.messages(task, ()),
        "ability": "tool_use",
        "reward_model": {"style": "rule" if answer else "model", "ground_truth": answer},
        "extra_info": {
            "split": settings.split,
            "index": tree.index,
            "task_id": task.id,
            "query": task.query,
            "sampled_paths": paths,
            "success_rate": samples[True] / paths if paths else None,
        },
    }


def _count_outcomes(tree: LabelledTree) -> Iterator[tuple[bool, int]]:
    """Yield the number of sampled paths that succeed, and of those that fail."""
    leaves = {leaf.id: leaf for leaf in tree.rollout.find_leaves()}
    for outcome in (True, False):
        chosen = (leaf for leaf, succeeds in tree.rollout.outcomes.items() if succeeds is outcome)
        yield outcome, sum(count_samples(leaves[leaf]) for leaf in chosen)
