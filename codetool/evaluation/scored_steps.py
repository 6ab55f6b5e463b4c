"""Process examples with a PRM's scores, in columns: what metrics of the PRM are computed from."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from codetool.evaluation.cluster_bootstrap import FloatArray, IndexArray, Statistic, build_mean
from codetool.model_types import ProcessExample

BoolArray = npt.NDArray[np.bool_]
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class ScoredSteps:
    """A row a step, siblings beside each other."""

    examples: Sequence[ProcessExample]
    tasks: Sequence[str]
    """Ids, in order of their numbers in `task`."""
    task: IndexArray
    group: IndexArray
    """A number for each parent."""
    depth: IndexArray
    """1 for the first step of a path."""
    score: FloatArray
    soft: FloatArray
    ran: BoolArray
    labelled: BoolArray
    label: BoolArray
    """False where there is none."""
    weight: FloatArray
    """How often the step was sampled."""

    @classmethod
    def from_scores(cls, examples: Sequence[ProcessExample], scores: Sequence[float]) -> ScoredSteps:
        """The columns. Raises ValueError unless there is one score in [0, 1] for each example."""
        if len(examples) != len(scores) or not all(0 <= score <= 1 for score in scores):
            raise ValueError("there has to be one score in [0, 1] for each example")
        tasks = assign_ids([example.task_id for example in examples])
        groups = assign_ids([(example.task_id, example.group) for example in examples])
        rows = sorted(zip(examples, scores, strict=True), key=lambda row: groups[row[0].task_id, row[0].group])
        steps = [step for step, _ in rows]
        return cls(
            examples=steps,
            tasks=list(tasks),
            task=np.array([tasks[step.task_id] for step in steps], dtype=np.int64),
            group=np.array([groups[step.task_id, step.group] for step in steps], dtype=np.int64),
            depth=np.array([step.node_id.count("-") + 1 for step in steps], dtype=np.int64),
            score=np.array([score for _, score in rows], dtype=np.float64),
            soft=np.array([step.soft for step in steps], dtype=np.float64),
            ran=np.array([step.executed for step in steps], dtype=np.bool_),
            labelled=np.array([step.label is not None for step in steps], dtype=np.bool_),
            label=np.array([step.label is True for step in steps], dtype=np.bool_),
            weight=np.array([step.multiplicity for step in steps], dtype=np.float64),
        )

    def build_mean(self, values: FloatArray, among: BoolArray | slice = slice(None)) -> Statistic:
        """The mean of these rows' values."""
        return build_mean(values[among], self.weight[among], self.task[among], len(self.tasks))

    def find_sibling_pairs(self) -> tuple[IndexArray, IndexArray]:
        """The rows of all pairs of siblings."""
        found = list(self._iterate_pairs())
        empty = np.zeros((2, 0), dtype=np.int64)
        left, right = np.concatenate([empty, *found], axis=1)
        return left, right

    def _iterate_pairs(self) -> Iterator[IndexArray]:
        """The pairs that lie one row apart, those two rows apart, until there are none."""
        rows = np.arange(len(self.group))
        for apart in count(1):
            same = self.group[apart:] == self.group[:-apart]
            if not same.any():
                return
            yield np.stack([rows[:-apart][same], rows[apart:][same]])

    def find_first_errors(self, threshold: float) -> tuple[IndexArray, IndexArray, IndexArray]:
        """For each complete path its task, the depth at which it is lost and the one predicted for that; 0 for never.

        It is lost at the first step of estimate 0; predicted is the first score below the threshold.
        """
        task, lost, predicted = np.array(list(self._iterate_paths(threshold)), dtype=np.int64).reshape(-1, 3).T
        return task, lost, predicted

    def _iterate_paths(self, threshold: float) -> Iterator[tuple[int, int, int]]:
        found: dict[tuple[str, str], tuple[int, int]] = {}
        leaves: dict[tuple[str, str], int] = {}
        for row in np.argsort(self.depth, kind="stable").tolist():
            step, depth = self.examples[row], int(self.depth[row])
            above, here = (step.task_id, step.group), (step.task_id, step.node_id)
            if depth > 1 and above not in found:
                continue  # a step before it is missing
            lost, predicted = found.get(above, (0, 0))
            bad = bool(self.score[row] < threshold)
            found[here] = (lost or depth * (step.soft == 0), predicted or depth * bad)
            leaves.pop(above, None)
            leaves[here] = row
        for here, row in leaves.items():
            if self.soft[row] in (0, 1):  # else a step after it is missing
                yield int(self.task[row]), *found[here]


def assign_ids(names: Sequence[T]) -> dict[T, int]:
    """A number for each different name, in order of appearance."""
    return {name: place for place, name in enumerate(dict.fromkeys(names))}
