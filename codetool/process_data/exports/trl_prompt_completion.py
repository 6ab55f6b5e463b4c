"""`export=trl_prompt_completion`: the steps of successful paths for TRL's SFTTrainer.

`train.jsonl` has TRL's conversational prompt-completion format (huggingface.co/docs/trl/dataset_formats): `prompt` is
what the policy was asked, `completion` its next step, each a list of messages. The paths are those of
`transcripts.jsonl`. Steps that failed are context only, and a step that several paths share has one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree, render_step, write_rows
from codetool.process_data.transcripts import choose_successful_leaves


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `train.jsonl`, and return the number of steps."""
    return write_rows(folder / "train.jsonl", (row for tree in trees for row in make_rows(tree, settings)))


def make_rows(tree: LabelledTree, settings: ExportSettings) -> Iterator[dict[str, Any]]:
    """Yield a row for each step that ran on the successful paths of a tree, path by path."""
    written: set[str] = set()
    for leaf in choose_successful_leaves(tree.rollout, settings.max_transcripts):
        for node in leaf.path:
            if node.spot == 0 or node.id in written:
                continue
            written.add(node.id)
            prompt, completion = render_step(settings.policy_prompt, tree.rollout.task, node)
            yield {
                "prompt": prompt,
                "completion": completion,
                "task_id": tree.rollout.task.id,
                "node_id": node.id,
                "multiplicity": node.multiplicity,
            }
