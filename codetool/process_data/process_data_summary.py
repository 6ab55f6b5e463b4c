"""Count the trees, leaves and labels of collected process data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codetool.process_data.labels import LabelledStep
from codetool.process_data.rollouts import Rollout


@dataclass
class DepthCounts:
    """Counts at one depth over all trees."""

    candidates: int = 0
    """Number of steps that were sampled."""
    steps: int = 0
    """Number of distinct steps, after identical programs have been merged."""
    ran: int = 0
    """Number of distinct steps that ran without error."""
    leaves: int = 0
    """Number of distinct paths that end at this depth with a known outcome."""
    succeeded: int = 0
    """Number of these paths that succeed."""
    estimated: int = 0
    """Number of steps with an estimate."""
    soft: float = 0.0
    """Sum of the soft estimates of these steps."""


@dataclass
class ProcessDataCounts:
    """Counts over the trees of a run."""

    trees: int = 0
    solved: int = 0
    """Trees with at least one leaf that succeeds."""
    levels: dict[int, DepthCounts] = field(default_factory=dict)
    """Counts by depth, from 1."""
    left: int = 0
    """Number of steps without children at which the search abandoned the path: their outcome is unknown."""
    labels: Counter[bool | None] = field(default_factory=Counter)
    """Number of steps by label."""
    groups: int = 0
    """Number of groups of at least two siblings with an estimate."""
    told_apart: int = 0
    """Number of these groups whose siblings differ, so that they have labels."""

    def add(self, rollout: Rollout, steps: Sequence[LabelledStep]) -> None:
        """Count one tree and its labelled steps."""
        self.trees += 1
        self.solved += any(rollout.outcomes.values())
        for node in rollout.nodes:
            if node.step:
                level = self._counts_at(node.depth)
                level.candidates += node.multiplicity
                level.steps += 1
                level.ran += node.spot > 0
        for leaf in rollout.find_leaves():
            outcome = rollout.outcomes.get(leaf.id)
            self.left += outcome is None
            self._counts_at(leaf.depth).leaves += outcome is not None
            self._counts_at(leaf.depth).succeeded += bool(outcome)
        for step in steps:
            self._counts_at(step.node.depth).estimated += 1
            self._counts_at(step.node.depth).soft += step.estimate.soft
        self.labels.update(step.label for step in steps)
        sizes = Counter(step.group for step in steps)
        self.groups += sum(size > 1 for size in sizes.values())
        self.told_apart += len({step.group for step in steps if step.label is not None})

    def _counts_at(self, depth: int) -> DepthCounts:
        return self.levels.setdefault(depth, DepthCounts())

    def sum_depths(self, name: str) -> int:
        """Return the count `name` of `DepthCounts`, summed over all depths."""
        return sum(getattr(level, name) for level in self.levels.values())

    def to_json(self) -> dict[str, Any]:
        """Return the counts as a dict for `summary.json`, with the mean soft estimate of each depth."""
        return {
            "trees": self.trees,
            "solved_trees": self.solved,
            "candidates": self.sum_depths("candidates"),
            "steps": self.sum_depths("steps"),
            "duplicates": self.sum_depths("candidates") - self.sum_depths("steps"),
            "leaves": self.sum_depths("leaves"),
            "succeeded": self.sum_depths("succeeded"),
            "left": self.left,
            "groups": self.groups,
            "told_apart": self.told_apart,
            "labels": {"true": self.labels[True], "false": self.labels[False], "none": self.labels[None]},
            "depths": {
                str(depth): asdict(level) | {"soft": level.soft / level.estimated if level.estimated else None}
                for depth, level in sorted(self.levels.items())
            },
        }
