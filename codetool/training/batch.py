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
from codetool.training.sibling_pairs import arrange_siblings, list_pairs

Batching = Literal["padded", "packed", "tree"]


@dataclass(frozen=True)
class TrainBatch:
    """Tensors of one forward pass: input tokens, and the positions at which a loss is computed."""

    tokens: Tensor
    """`(rows, length)`."""
    positions: Tensor
    """`(rows, length)`: position of each token within its own example, from 0."""
    subtree_ends: Tensor
    """`(rows, length)`: index in the row at which each token's subtree ends, see `codetool.training.packing`."""
    target_positions: Tensor
    """`(targets,)`: indices into the flattened tokens; the loss is computed on the prediction after each."""
    target_tokens: Tensor
    """`(targets,)`: the correct next token of a policy; -1 for a PRM."""
    label_probs: Tensor
    """`(targets,)`: target probability of a PRM's first label, in [0, 1]."""
    weights: Tensor
    """`(targets,)`: weight of each target in the loss."""
    example_indices: tuple[int, ...]
    """Index of the process example that each target scores; -1 for a policy."""
    pairs: Tensor
    """`(pairs, 2)`: the better and the worse target of each pair of siblings, as indices into the targets; no row
    without a pairwise loss."""
    pair_weights: Tensor
    """`(pairs,)`: weight of each pair in the loss."""
    total_weight: float
    """Sum of the weights of all targets of the update to which this pass belongs."""
    total_pair_weight: float
    """Sum of the weights of all pairs of the update to which this pass belongs."""
    examples: int
    """Number of training examples in the pass."""
    num_tokens: int
    """Number of tokens in the pass, without padding."""

    def to(self, device: torch.device) -> TrainBatch:
        """Return a copy of the batch with its tensors on `device`."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})


def arrange_rows(groups: Sequence[Sequence[SFTExample]], batching: Batching, max_tokens: int) -> list[list[Pack]]:
    """Return the rows of each forward pass over the groups of examples.

    A pass has at most `max_tokens` tokens, padding included, or a single longer example. For padded batches, the
    examples of every `BUCKET_GROUPS` groups are sorted by length, so that the rows of a pass need little padding.
    Siblings that are compared in pairs are in one pass.
    """
    if any(target.group for group in groups for example in group for target in example.targets):
        return arrange_siblings(groups, max_tokens, share=batching == "tree", padded=batching == "padded")
    if batching != "padded":
        return [[pack] for pack in pack_examples(groups, max_tokens, share=batching == "tree")]
    passes: list[list[Pack]] = []
    for start in range(0, len(groups), BUCKET_GROUPS):
        examples = list(chain(*groups[start : start + BUCKET_GROUPS]))
        opened: list[list[Pack]] = []
        for example in sorted(examples, key=lambda example: len(example.tokens)):
            if not opened or (len(opened[-1]) + 1) * len(example.tokens) > max_tokens:
                opened.append([])
            opened[-1] += pack_examples([[example]], max_tokens, share=False)
        passes += opened
    return passes


BUCKET_GROUPS = 50
"""Number of groups whose examples are sorted by length together."""


def build_batch(rows: Sequence[Pack], total: float, pair_total: float = 0.0) -> TrainBatch:
    """Return the tensors of one forward pass; `total` is the summed target weight of its whole update.

    `pair_total` is the summed weight of the pairs of siblings of the whole update.

    Short rows are padded on the right with tokens that no example attends to. The padding of a row has the form of one
    more example, so that attention computes one segment for it instead of one for each token.
    """
    length = max(len(row.tokens) for row in rows)
    padding_lengths = [length - len(row.tokens) for row in rows]

    targets = [(i * length, target) for i, row in enumerate(rows) for target in row.targets]
    pairs = list_pairs([target for _, target in targets])
    return TrainBatch(
        tokens=torch.tensor(
            [[*row.tokens, *[0] * padding] for row, padding in zip(rows, padding_lengths, strict=True)]
        ),
        positions=torch.tensor(
            [[*row.positions, *range(padding)] for row, padding in zip(rows, padding_lengths, strict=True)]
        ),
        subtree_ends=torch.tensor(
            [[*row.subtree_ends, *[length] * padding] for row, padding in zip(rows, padding_lengths, strict=True)]
        ),
        target_positions=torch.tensor([start + target.position for start, target in targets]),
        target_tokens=torch.tensor([target.token for _, target in targets]),
        label_probs=torch.tensor([target.label_prob for _, target in targets]),
        weights=torch.tensor([target.weight for _, target in targets]),
        example_indices=tuple(target.example_index for _, target in targets),
        pairs=torch.tensor([(pair.better, pair.worse) for pair in pairs], dtype=torch.int64).view(-1, 2),
        pair_weights=torch.tensor([pair.weight for pair in pairs]),
        total_weight=total,
        total_pair_weight=pair_total,
        examples=sum(row.examples for row in rows),
        num_tokens=sum(len(row.tokens) for row in rows),
    )
