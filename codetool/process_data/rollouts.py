"""A rollout tree with the outcomes of its leaves, and estimates of its steps computed from these outcomes.

`outcomes` lists the leaves whose outcome is known. A step at which the search abandoned the path is not listed, since
its outcome is unknown: it counts neither as success nor as failure. A step without a known leaf below it has no
estimate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codetool.process_data.settings import LabelingConfig
from codetool.types import Node, Task


@dataclass(frozen=True)
class Rollout:
    """The search tree of one task with the outcomes of its leaves."""

    task: Task
    nodes: tuple[Node, ...]
    """All nodes, the root first, parents before children."""
    outcomes: Mapping[str, bool]
    """Whether the leaf with this id succeeds, for leaves with a known outcome."""

    def find_leaves(self) -> list[Node]:
        """Return the steps without children, in the order of the tree."""
        parents = {node.parent.id for node in self.nodes if node.parent}
        return [node for node in self.nodes if node.step and node.id not in parents]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of the potential of a step, computed from the leaves below it."""

    soft: float
    """Fraction of the leaves below the step that succeed, in [0, 1]; of a leaf, its own outcome."""
    hard: bool
    """Whether at least one of these leaves succeeds."""
    latent: float
    """Latent reward in (0, 1]."""


@dataclass(frozen=True, slots=True)
class _SubtreeStats:
    """Counts over the leaves below a step; a merged duplicate counts as often as it was sampled."""

    leaves: int = 0
    successes: int = 0
    steps: int = 0
    """Number of steps from this step to each leaf, summed over the leaves."""


def estimate_steps(rollout: Rollout, settings: LabelingConfig) -> dict[str, Estimate]:
    """Return the estimate of every step that has a leaf with a known outcome below it, by node id.

    A leaf counts as often as it was sampled below the step: the product of the multiplicities on the path to it. The
    latent reward is alpha^(1 - soft) · beta^(tau / horizon) (arXiv 2503.20840), where tau is the mean or the sum, over
    the leaves, of the number of steps that remain until the leaf.
    """
    stats = _count_subtrees(rollout)
    return {
        node.id: _make_estimate(stats[node.id], settings)
        for node in rollout.nodes
        if node.step and stats[node.id].leaves
    }


def _make_estimate(stats: _SubtreeStats, settings: LabelingConfig) -> Estimate:
    soft = stats.successes / stats.leaves
    tau = stats.steps / stats.leaves if settings.length_term == "mean" else stats.steps
    latent = settings.alpha ** (1 - soft) * settings.beta ** (tau / settings.horizon)
    return Estimate(soft, stats.successes > 0, latent)


def _count_subtrees(rollout: Rollout) -> dict[str, _SubtreeStats]:
    children: defaultdict[str, list[Node]] = defaultdict(list)
    for node in rollout.nodes:
        if node.parent:
            children[node.parent.id].append(node)
    stats: dict[str, _SubtreeStats] = {}
    for node in sorted(rollout.nodes, key=lambda node: node.depth, reverse=True):
        stats[node.id] = (
            _sum_children(children[node.id], stats) if children[node.id] else _count_leaf(rollout.outcomes.get(node.id))
        )
    return stats


def _count_leaf(outcome: bool | None) -> _SubtreeStats:
    return _SubtreeStats() if outcome is None else _SubtreeStats(1, int(outcome), 0)


def _sum_children(children: Sequence[Node], stats: Mapping[str, _SubtreeStats]) -> _SubtreeStats:
    parts = [(child.multiplicity, stats[child.id]) for child in children]
    return _SubtreeStats(
        leaves=sum(multiplicity * part.leaves for multiplicity, part in parts),
        successes=sum(multiplicity * part.successes for multiplicity, part in parts),
        steps=sum(multiplicity * (part.steps + part.leaves) for multiplicity, part in parts),
    )
