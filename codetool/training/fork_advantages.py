"""Advantages of the steps of a rollout tree: over their siblings, and of their paths over the other paths of the tree.

The reward of a path is r = success - `error_penalty` · its failed steps - `length_penalty` · its steps. A leaf counts
as often as its path was sampled. For a step n let R(n) be the mean reward of the leaves below it.

- Fork-relative advantage: (R(n) - mean of R over n and its siblings) / their standard deviation (PORTool, arXiv
  2510.26020; the intra-tree advantage of Tree-GRPO, arXiv 2509.21240, at every branch).
- Trajectory advantage: the mean, over the leaves below n, of discount^(steps from n to the leaf) · (r - mean of r over
  all leaves of the tree) / their standard deviation.

The advantage of a step is the weighted sum of both. A group of siblings without spread, in which all R(n) are equal,
has nothing to choose between; its steps are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat
from pydantic.dataclasses import dataclass as settings_dataclass

from codetool.model_types import PolicyStep

MIN_SPREAD = 1e-6
"""Difference of rewards from which on siblings have a spread."""


@settings_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AdvantageSettings:
    """Settings of the reward and of both advantages. Options inherit them."""

    fork_weight: NonNegativeFloat
    """Weight of the advantage of a step over its siblings."""
    trajectory_weight: NonNegativeFloat
    """Weight of the advantage of a step's paths over all paths of the tree."""
    discount: Annotated[float, Field(gt=0, le=1)]
    """Factor on the advantage of a path for each step from a step to the path's end, in (0, 1]."""
    normalize: bool
    """Whether both advantages are divided by the standard deviation of their group."""
    error_penalty: NonNegativeFloat
    """Amount that each failed step takes from the reward of its paths, which is 0 or 1 without it."""
    length_penalty: NonNegativeFloat
    """Amount that each step takes from the reward of its paths."""


@dataclass(frozen=True)
class Advantages:
    """Advantages by index of the step, and the number of groups of siblings with a known reward."""

    by_step: Mapping[int, float]
    groups: int
    without_spread: int
    """Number of these groups whose steps are left out."""


@dataclass
class _Below:
    """The leaves below a step: their number, and sums over them."""

    leaves: float = 0.0
    rewards: float = 0.0
    squares: float = 0.0
    discounted_rewards: float = 0.0
    discounts: float = 0.0

    def add(self, other: _Below, count: float, discount: float) -> None:
        """Add the leaves below a child that was sampled `count` times and is one step away."""
        self.leaves += count * other.leaves
        self.rewards += count * other.rewards
        self.squares += count * other.squares
        self.discounted_rewards += count * discount * other.discounted_rewards
        self.discounts += count * discount * other.discounts


def compute_advantages(steps: Sequence[PolicyStep], settings: AdvantageSettings) -> Advantages:
    """Return the advantages of the steps of any number of trees, each tree's parents before their children."""
    trees: defaultdict[int, list[int]] = defaultdict(list)
    for index, step in enumerate(steps):
        trees[step.tree].append(index)
    by_step: dict[int, float] = {}
    groups = without_spread = 0
    for indices in trees.values():
        below, root = _sum_leaves({index: steps[index] for index in indices}, settings)
        if not root.leaves:
            continue
        siblings: defaultdict[str, list[int]] = defaultdict(list)
        for index in indices:
            if below[index].leaves:
                siblings[steps[index].group].append(index)
        for members in siblings.values():
            forks = _compare_siblings({index: (below[index], steps[index].multiplicity) for index in members}, settings)
            groups, without_spread = groups + 1, without_spread + (not forks)
            for index, fork in forks.items():
                path = _compare_paths(below[index], root, settings)
                by_step[index] = settings.fork_weight * fork + settings.trajectory_weight * path
    return Advantages(by_step, groups, without_spread)


def _sum_leaves(tree: Mapping[int, PolicyStep], settings: AdvantageSettings) -> tuple[dict[int, _Below], _Below]:
    """Return the sums over the leaves below each step, by its index, and over all leaves of the tree."""
    places = {step.node_id: index for index, step in tree.items()}
    below = {index: _Below() for index in tree}
    root = _Below()
    for index in sorted(tree, key=lambda index: tree[index].depth, reverse=True):
        step = tree[index]
        if step.reward is not None:
            failed = sum(not tree[places[name]].executed for name in _list_path(step.node_id) if name in places)
            reward = step.reward - settings.error_penalty * failed - settings.length_penalty * step.depth
            below[index] = _Below(1.0, reward, reward**2, reward, 1.0)
        parent = below[places[step.group]] if step.group in places else root
        parent.add(below[index], step.multiplicity, settings.discount)
    return below, root


def _list_path(node_id: str) -> Iterable[str]:
    parts = node_id.split("-")
    return ("-".join(parts[: i + 1]) for i in range(len(parts)))


def _compare_siblings(members: Mapping[int, tuple[_Below, int]], settings: AdvantageSettings) -> dict[int, float]:
    """Return the fork-relative advantage of each sibling, by its index; empty without spread."""
    means = {index: below.rewards / below.leaves for index, (below, _) in members.items()}
    if max(means.values()) - min(means.values()) < MIN_SPREAD:
        return {}
    total = sum(count for _, count in members.values())
    mean = sum(members[index][1] * value for index, value in means.items()) / total
    variance = sum(members[index][1] * (value - mean) ** 2 for index, value in means.items()) / total
    scale = math.sqrt(variance) if settings.normalize else 1.0
    return {index: (value - mean) / scale for index, value in means.items()}


def _compare_paths(below: _Below, root: _Below, settings: AdvantageSettings) -> float:
    """Return the trajectory advantage of a step of a tree whose rewards are not all equal."""
    mean = root.rewards / root.leaves
    variance = root.squares / root.leaves - mean**2
    scale = math.sqrt(variance) if settings.normalize else 1.0
    return (below.discounted_rewards - mean * below.discounts) / below.leaves / scale
