"""`export=trl_preference`: pairs of sibling steps for TRL's DPOTrainer and RewardTrainer.

`train.jsonl` has TRL's conversational preference format (huggingface.co/docs/trl/dataset_formats): `prompt`, `chosen`
and `rejected`, each a list of messages. A row is a pair of siblings of which one ran and the other did not, or whose
estimates differ; the prompt is what the policy was asked for both. The other columns, which TRL leaves aside, tell
where the pair comes from; `weight` is the number of pairs of sampled candidates that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from codetool.model_types import ProcessExample
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree, render_step, write_rows
from codetool.process_data.labels import pair_siblings
from codetool.prompts.messages import Message


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `train.jsonl`, and return the number of pairs."""
    return write_rows(folder / "train.jsonl", (row for tree in trees for row in make_rows(tree, settings)))


def make_rows(tree: LabelledTree, settings: ExportSettings) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair of siblings of a tree, group by group."""
    nodes = {node.id: node for node in tree.rollout.nodes}

    def render(example: ProcessExample) -> tuple[list[Message], list[Message]]:
        return render_step(settings.policy_prompt, tree.rollout.task, nodes[example.node_id])

    for pair in [] if tree.left_out else pair_siblings(tree.examples, settings.estimator):
        first, second = pair.first, pair.second
        chosen, rejected = (first, second) if pair.first_is_better else (second, first)
        prompt, chosen_messages = render(chosen)
        yield {
            "prompt": prompt,
            "chosen": chosen_messages,
            "rejected": render(rejected)[1],
            "weight": pair.weight,
            "task_id": chosen.task_id,
            **_describe("chosen", chosen),
            **_describe("rejected", rejected),
        }


def _describe(role: str, example: ProcessExample) -> dict[str, Any]:
    return {
        f"{role}_id": example.node_id,
        f"{role}_executed": example.executed,
        f"{role}_soft": example.soft,
        f"{role}_hard": example.hard,
    }
