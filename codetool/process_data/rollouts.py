"""A rollout tree with the outcomes of its leaves, and the estimates of its steps that follow from them.

A leaf is known by standing in `outcomes`. A step that a search left before its path ended is no such leaf: what would
have become of it is unknown, so it counts neither way, and steps with no known leaf below them have no estimate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codetool.process_data.settings import LabelingConfig
from codetool.types import Node, Task


@dataclass(frozen=True)
class Rollout:
    """The tree of one task, the root first, parents before children."""

    task: Task
    nodes: tuple[Node, ...]
    outcomes: Mapping[str, bool]
    """Whether a leaf succeeds, by its id."""

    def find_leaves(self) -> list[Node]:
        """The steps without children, in the order of the tree."""
        parents = {node.parent.id for node in self.nodes if node.parent}
        return [node for node in self.nodes if node.step and node.id not in parents]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of the potential of a step, computed from the leaves below it."""

    soft: float
    """Share of the leaves that succeed, in [0, 1]; its own success if it is a leaf."""
    hard: bool
    """Whether any of them succeeds."""
    latent: float
    """Latent reward in (0, 1]."""


@dataclass(frozen=True, slots=True)
class _SubtreeStats:
    """Counts over the leaves below a step, merged duplicates counted as often as they were drawn."""

    leaves: int = 0
    successes: int = 0
    steps: int = 0
    """Steps from here to each leaf, added up."""


def estimate_steps(rollout: Rollout, settings: LabelingConfig) -> dict[str, Estimate]:
    """The estimate of every step with a known leaf, by its id.

    A leaf counts once for every way of drawing it from the step on: as often as the product of the multiplicities on
    the way down says. The latent reward is alpha^(1 - soft) · beta^(tau / horizon) (arXiv 2503.20840), tau the mean or
    the sum over the leaves of the steps that remain until them.
    """
    below = _count_subtrees(rollout)
    return {
        node.id: _make_estimate(below[node.id], settings)
        for node in rollout.nodes
        if node.step and below[node.id].leaves
    }


def _make_estimate(below: _SubtreeStats, settings: LabelingConfig) -> Estimate:
    soft = below.successes / below.leaves
    tau = below.steps / below.leaves if settings.length_term == "mean" else below.steps
    latent = settings.alpha ** (1 - soft) * settings.beta ** (tau / settings.horizon)
    return Estimate(soft, below.successes > 0, latent)


def _count_subtrees(rollout: Rollout) -> dict[str, _SubtreeStats]:
    children: defaultdict[str, list[Node]] = defaultdict(list)
    for node in rollout.nodes:
        if node.parent:
            children[node.parent.id].append(node)
    below: dict[str, _SubtreeStats] = {}
    for node in sorted(rollout.nodes, key=lambda node: node.depth, reverse=True):
        below[node.id] = (
            _sum_children(children[node.id], below) if children[node.id] else _count_leaf(rollout.outcomes.get(node.id))
        )
    return below


def _count_leaf(outcome: bool | None) -> _SubtreeStats:
    return _SubtreeStats() if outcome is None else _SubtreeStats(1, int(outcome), 0)


def _sum_children(children: Sequence[Node], below: Mapping[str, _SubtreeStats]) -> _SubtreeStats:
    parts = [(child.multiplicity, below[child.id]) for child in children]
    return _SubtreeStats(
        leaves=sum(times * part.leaves for times, part in parts),
        successes=sum(times * part.successes for times, part in parts),
        steps=sum(times * (part.steps + part.leaves) for times, part in parts),
    )
