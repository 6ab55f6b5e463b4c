r"""`export=trl_stepwise`: every path with a label for each step, for TRL's PRMTrainer.

`train.jsonl` has TRL's stepwise supervision format (huggingface.co/docs/trl/dataset_formats): the text `prompt`, the
list of texts `completions`, and the list of bools `labels`, whether a leaf below the step succeeds (the hard estimate,
as in Math-Shepherd, arXiv 2312.08935). A row is a path to a leaf with a known outcome, so that a step stands in the row
of each leaf below it.

The texts are what a PRM with `collect.prompt` reads. The output of a step stands at the start of the next completion,
so that a step is labelled before it ran. PRMTrainer ends a completion with its `step_separator`, a line break by
default, and labels that token; so the line break after a step, if the prompt has one, is not written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree, count_samples, write_rows


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `train.jsonl`, and return the number of paths."""
    return write_rows(folder / "train.jsonl", (row for tree in trees for row in make_rows(tree, settings)))


def make_rows(tree: LabelledTree, settings: ExportSettings) -> Iterator[dict[str, Any]]:
    """Yield a row for each leaf of a tree that has an outcome. Raises ConfigError as `_split_completions` does."""
    examples = {example.node_id: example for example in tree.examples}
    for leaf in [] if tree.left_out else tree.rollout.find_leaves():
        if leaf.id not in tree.rollout.outcomes:
            continue
        path = [examples[node.id] for node in leaf.path]
        read_texts = [
            _join_texts(settings.prm_prompt.with_candidate(example.prefix, k, example.step))
            for k, example in enumerate(path, start=1)
        ]
        prompt = _join_texts(path[0].prefix)
        yield {
            "prompt": prompt,
            "completions": _split_completions(prompt, read_texts),
            "labels": [example.hard for example in path],
            "task_id": tree.rollout.task.id,
            "leaf_id": leaf.id,
            "weight": count_samples(leaf),
        }


def _join_texts(messages: Sequence[Mapping[str, str]]) -> str:
    return "\n\n".join(message["content"] for message in messages)


def _split_completions(prompt: str, read_texts: Sequence[str]) -> list[str]:
    """Return what each text adds to the one before it, without the line break between them.

    Raises ConfigError if a text does not start with the one before it.
    """
    completions: list[str] = []
    earlier = prompt
    for text in read_texts:
        if not text.startswith(earlier):
            raise ConfigError(
                "export=trl_stepwise: collect.prompt shows the scored step otherwise than the steps before it, so its "
                "text cannot be cut into steps. Choose another prompt: prm_prompt@collect.prompt=compact"
            )
        added = text[len(earlier) :]
        if completions and not earlier.endswith("\n"):
            added = added.removeprefix("\n")
        completions.append(added.removesuffix("\n"))
        earlier = text
    return completions
