"""Losses of whole steps of a policy: what such a loss reads of a forward pass, and how its metrics are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from codetool.training.batch import TrainBatch
from codetool.training.trainable_model import TrainableModel

ENTROPY_ROWS = 256
"""Number of tokens whose entropies are computed at once, to save memory."""


@dataclass(frozen=True)
class TokenOutputs:
    """What a forward pass says of the tokens of the steps in it; those of one step follow each other."""

    log_probabilities: Tensor
    """`(targets,)`: log-probability of each token under the policy that is trained."""
    entropies: Tensor
    """`(targets,)`: entropy of the distribution that each token was drawn from, in nats, without a gradient."""
    initial: Tensor
    """`(targets,)`: log-probability of each token under the initial policy; that of now where it is not read."""
    weights: Tensor
    """`(targets,)`: weight of each token; 0 in a pass that only fills up."""
    steps: tuple[int, ...]
    """Number of the step of each token; -1 in a pass that only fills up."""


MetricParts = Mapping[str, tuple[Tensor, Tensor]]
"""For each metric the weighted sum and the weight that it is divided by, both scalars."""


@dataclass(frozen=True)
class StepLosses:
    """The loss of one forward pass."""

    summed: Tensor
    """Weighted sum of the losses, to be divided by the update's target weight."""
    metrics: MetricParts
    scores: None = None

    def sum_weighted(self, batch: TrainBatch, pairs_weight: float) -> Tensor:
        """Return the part of the update's loss that this pass contributes, times the update's target weight."""
        return self.summed

    def count_sums(self, batch: TrainBatch) -> Tensor:
        """Return `(4,)`, float64: sum and weight of the loss, as `PassLosses.count_sums` does for others."""
        sums = torch.stack([self.summed, batch.weights.sum().to(self.summed.dtype)])
        return torch.cat([sums, torch.zeros_like(sums)]).detach().double().cpu()


class StepLoss(Protocol):
    """Loss of the steps of a policy."""

    reads_initial: bool
    """Whether it reads the log-probabilities of the initial policy."""
    reads_entropy: bool

    def compute(self, outputs: TokenOutputs) -> StepLosses:
        """Return the loss of a forward pass and its metrics."""
        ...


def compute_step_losses(
    trained: TrainableModel, batch: TrainBatch, loss: StepLoss, initial: Mapping[int, Tensor]
) -> StepLosses:
    """Return the loss of a forward pass; `initial` has the initial policy's log-probabilities by number of the step."""
    logits = trained.logits(trained(batch)).float()
    log_probabilities = -F.cross_entropy(logits, batch.target_tokens, reduction="none")
    now = log_probabilities.detach()
    outputs = TokenOutputs(
        log_probabilities,
        compute_entropies(logits.detach()) if loss.reads_entropy else torch.zeros_like(now),
        gather_by_step(initial, batch.example_indices, now) if loss.reads_initial else now,
        batch.weights,
        batch.example_indices,
    )
    return loss.compute(outputs)


def gather_by_step(table: Mapping[int, Tensor], steps: Sequence[int], default: Tensor) -> Tensor:
    """Return the table's numbers of the tokens of all steps, `(targets,)`; `default` for steps that it lacks."""
    parts, start = [], 0
    for step, members in groupby(steps):
        count = sum(1 for _ in members)
        known = table.get(step)
        parts.append(default[start : start + count] if known is None else known.to(default))
        start += count
    return torch.cat(parts)


def compute_entropies(logits: Tensor) -> Tensor:
    """Return the entropy of each row's distribution in nats, `(rows,)`."""
    parts = []
    for rows in logits.split(ENTROPY_ROWS):
        log_probabilities = rows.log_softmax(-1)
        parts.append(-(log_probabilities.exp() * log_probabilities).sum(-1))
    return torch.cat(parts)


def estimate_kl(now: Tensor, reference: Tensor) -> Tensor:
    """Return the k3 estimate of the KL divergence from a reference policy at each token, `(targets,)`, in nats.

    Source: Schulman 2020, http://joschu.net/blog/kl-approx.html
    """
    difference = reference - now
    return difference.exp() - difference - 1


class MetricSums:
    """Metrics that are added up over forward passes."""

    def __init__(self) -> None:
        """Start without any."""
        self._sums: dict[str, Tensor] = {}

    def add(self, metrics: MetricParts) -> None:
        """Add the parts of a forward pass."""
        for name, parts in metrics.items():
            pair = torch.stack([part.detach().double().cpu() for part in parts])
            self._sums[name] = self._sums.get(name, torch.zeros_like(pair)) + pair

    def take(self) -> dict[str, float]:
        """Return the metrics over all passes and processes, and start anew; one without any weight is left out."""
        sums, self._sums = self._sums, {}
        if sums and torch.distributed.is_initialized():
            results: list[dict[str, Tensor]] = [{}] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(results, sums)
            sums = {name: torch.stack([each[name] for each in results]).sum(0) for name in sums}
        return {name: float(total / weight) for name, (total, weight) in sums.items() if weight}
