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
    """Counts at one depth of all trees."""

    candidates: int = 0
    """Steps that were sampled."""
    steps: int = 0
    """Distinct ones, after identical programs have been merged."""
    ran: int = 0
    """Of the distinct steps."""
    leaves: int = 0
    """Distinct paths that ended here and are known to succeed or fail."""
    succeeded: int = 0
    estimated: int = 0
    """Steps with an estimate."""
    soft: float = 0.0
    """Their soft estimates, added up."""


@dataclass
class ProcessDataCounts:
    """Counts over the trees of a run."""

    trees: int = 0
    solved: int = 0
    """Trees with at least one leaf that succeeds."""
    levels: dict[int, DepthCounts] = field(default_factory=dict)
    """By depth, from 1."""
    left: int = 0
    """Steps that the search left before their path ended: nothing is known of what would have followed."""
    labels: Counter[bool | None] = field(default_factory=Counter)
    groups: int = 0
    """Groups of at least two siblings with an estimate."""
    told_apart: int = 0
    """Of these, groups with labels."""

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
        """One count of the levels, added up over all depths."""
        return sum(getattr(level, name) for level in self.levels.values())

    def to_json(self) -> dict[str, Any]:
        """Part of the content of `summary.json`."""
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
