"""Build the tensors of one forward pass from packed examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from codetool.training.packing import Pack, pack_examples
from codetool.training.sft_examples import SFTExample

Batching = Literal["padded", "packed", "tree"]


@dataclass(frozen=True)
class TrainBatch:
    """Tensors of one forward pass: input tokens, and the positions at which a loss is computed."""

    tokens: Tensor
    """`(rows, length)`."""
    positions: Tensor
    """`(rows, length)`: of each token in its own example."""
    subtree_ends: Tensor
    """`(rows, length)`: of each token's subtree, see `codetool.training.packing`."""
    target_positions: Tensor
    """`(targets,)`: into the flattened tokens."""
    target_tokens: Tensor
    """`(targets,)`: the right next tokens; -1 for a PRM."""
    label_probs: Tensor
    """`(targets,)`: wanted probabilities of the first label."""
    weights: Tensor
    """`(targets,)`."""
    example_indices: tuple[int, ...]
    """Of the process examples that are judged."""
    total_weight: float
    """Sum of the weights of the whole update that this pass is a part of."""
    examples: int
    num_tokens: int
    """Tokens that the model reads, without those that fill short rows up."""

    def to(self, device: torch.device) -> TrainBatch:
        """The same batch elsewhere."""
        names = ("tokens", "positions", "subtree_ends", "target_positions", "target_tokens", "label_probs", "weights")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


def arrange_rows(groups: Sequence[Sequence[SFTExample]], batching: Batching, room: int) -> list[list[Pack]]:
    """The rows of each forward pass over the groups; at most `room` tokens with padding, or one longer example.

    Padded rows are sorted into buckets of like length among 50 groups at a time, so that little is padded.
    """
    if batching != "padded":
        return [[each] for each in pack_examples(groups, room, share=batching == "tree")]
    passes: list[list[Pack]] = []
    for start in range(0, len(groups), BUCKET_GROUPS):
        examples = list(chain(*groups[start : start + BUCKET_GROUPS]))
        opened: list[list[Pack]] = []
        for example in sorted(examples, key=lambda each: len(each.tokens)):
            if not opened or (len(opened[-1]) + 1) * len(example.tokens) > room:
                opened.append([])
            opened[-1] += pack_examples([[example]], room, share=False)
        passes += opened
    return passes


BUCKET_GROUPS = 50
"""Groups among which padded rows look for their like."""


def build_batch(rows: Sequence[Pack], total: float) -> TrainBatch:
    """The tensors of one forward pass; short rows are padded on the right with tokens that no example sees.

    The padding of a row is like one more example, so that attention has one segment of it and not one a token.
    """
    length = max(len(row.tokens) for row in rows)
    missing = [length - len(row.tokens) for row in rows]

    targets = [(i * length, target) for i, row in enumerate(rows) for target in row.targets]
    return TrainBatch(
        tokens=torch.tensor([[*row.tokens, *[0] * some] for row, some in zip(rows, missing, strict=True)]),
        positions=torch.tensor([[*row.positions, *range(some)] for row, some in zip(rows, missing, strict=True)]),
        subtree_ends=torch.tensor(
            [[*row.subtree_ends, *[length] * some] for row, some in zip(rows, missing, strict=True)]
        ),
        target_positions=torch.tensor([start + target.position for start, target in targets]),
        target_tokens=torch.tensor([target.token for _, target in targets]),
        label_probs=torch.tensor([target.label_prob for _, target in targets]),
        weights=torch.tensor([target.weight for _, target in targets]),
        example_indices=tuple(target.example_index for _, target in targets),
        total_weight=total,
        examples=sum(row.examples for row in rows),
        num_tokens=sum(len(row.tokens) for row in rows),
    )
