"""Losses of a PRM: pointwise on each step, and pairwise on siblings.

Let d be the difference of the logits of a PRM's two labels after a prompt, so that its score is sigmoid(d).

- Pointwise: the cross-entropy of the target probability p of the first label, -p log σ(d) - (1 - p) log σ(-d).
- Pairwise (Bradley and Terry 1952): -log σ(d_better - d_worse) for each pair of siblings with different targets. It is
  0.69 for equal scores. It only compares scores of siblings, so it leaves their level open; a share of the pointwise
  loss settles it.

The loss of an update is (1 - pairs_weight) · the weighted mean of the pointwise losses over all its targets
+ pairs_weight · the weighted mean of the pairwise losses over all its pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from codetool.training.batch import TrainBatch


@dataclass(frozen=True)
class PassLosses:
    """The losses of one forward pass."""

    targets: Tensor
    """`(targets,)`: loss of each target, in nats, float32."""
    pairs: Tensor | None = None
    """`(pairs,)`: loss of each pair of siblings, in nats, float32; None without a pairwise loss."""
    scores: Tensor | None = None
    """`(targets,)`: a PRM's probability of its first label; None for a policy."""
    metrics: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Further metrics; none of these losses."""

    def sum_weighted(self, batch: TrainBatch, pairs_weight: float) -> Tensor:
        """Return the part of the update's loss that this pass contributes, times the update's target weight."""
        summed = (self.targets * batch.weights).sum()
        if self.pairs is None:
            return summed
        scale = batch.total_weight / batch.total_pair_weight if batch.total_pair_weight else 0.0
        return (1 - pairs_weight) * summed + pairs_weight * scale * (self.pairs * batch.pair_weights).sum()

    def count_sums(self, batch: TrainBatch) -> Tensor:
        """Return `(4,)`, float64: weighted sum of the target losses, their weight, and the same of the pairs."""
        sums = torch.stack([(self.targets * batch.weights).sum(), batch.weights.sum()])
        of_pairs = torch.zeros_like(sums)
        if self.pairs is not None:
            of_pairs = torch.stack([(self.pairs * batch.pair_weights).sum(), batch.pair_weights.sum()])
        return torch.cat([sums, of_pairs]).detach().double().cpu()


def combine_sums(sums: Tensor, pairs_weight: float) -> float:
    """Return the loss that sums of `PassLosses.count_sums`, added up over passes, come to.

    Without a pair, the pairwise loss counts as 0.
    """
    targets, target_weight, pairs, pair_weight = map(float, sums)
    pointwise = targets / target_weight if target_weight else float("nan")
    if not pair_weight:
        return pointwise
    return (1 - pairs_weight) * pointwise + pairs_weight * pairs / pair_weight


def compute_pair_losses(differences: Tensor, pairs: Tensor) -> Tensor:
    """Return the pairwise loss of each pair, `(pairs,)`.

    `differences` `(targets,)` are the differences of the two labels' logits; `pairs` `(pairs, 2)` are the indices of
    the better and the worse target.
    """
    better, worse = pairs.unbind(1)
    return F.softplus(differences[worse] - differences[better])


def compute_vocabulary_losses(logits: Tensor, labels: Sequence[int], probabilities: Tensor) -> Tensor:
    """Return the cross-entropy of the labels' probabilities against all tokens, `(targets,)`.

    `logits` is `(targets, vocabulary)`; `probabilities` `(targets,)` are the target probabilities of the first label.
    """
    label_logprobs = logits.log_softmax(-1)[:, list(labels)]
    return -(probabilities * label_logprobs[:, 0] + (1 - probabilities) * label_logprobs[:, 1])
