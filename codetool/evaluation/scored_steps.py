"""Process examples and a PRM's scores as NumPy columns, the input of the PRM's metrics."""

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
    """Columns with one row per step; siblings are in adjacent rows."""

    examples: Sequence[ProcessExample]
    tasks: Sequence[str]
    """Task ids; `task` holds indexes into them."""
    task: IndexArray
    group: IndexArray
    """Index of the step's parent."""
    depth: IndexArray
    """1 for the first step of a path."""
    score: FloatArray
    soft: FloatArray
    ran: BoolArray
    labelled: BoolArray
    label: BoolArray
    """False for a step without a label."""
    weight: FloatArray
    """How often the step was sampled."""

    @classmethod
    def from_scores(cls, examples: Sequence[ProcessExample], scores: Sequence[float]) -> ScoredSteps:
        """Build the columns. Raises ValueError unless there is one score in [0, 1] for each example."""
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

    def build_mean(self, values: FloatArray, rows: BoolArray | slice = slice(None)) -> Statistic:
        """Return the weighted mean of the selected rows' values as a statistic over tasks."""
        return build_mean(values[rows], self.weight[rows], self.task[rows], len(self.tasks))

    def find_sibling_pairs(self) -> tuple[IndexArray, IndexArray]:
        """Return the rows of all pairs of siblings, as two arrays."""
        pairs = list(self._iterate_pairs())
        empty = np.zeros((2, 0), dtype=np.int64)
        left, right = np.concatenate([empty, *pairs], axis=1)
        return left, right

    def _iterate_pairs(self) -> Iterator[IndexArray]:
        """Yield the pairs at a distance of one row, of two rows, and so on until there are none."""
        rows = np.arange(len(self.group))
        for distance in count(1):
            same = self.group[distance:] == self.group[:-distance]
            if not same.any():
                return
            yield np.stack([rows[:-distance][same], rows[distance:][same]])

    def find_first_errors(self, threshold: float) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return for each complete path its task, the depth of its first error, and the predicted depth; 0 for none.

        The first error is the first step below which no leaf succeeds; it is predicted at the first score below the
        threshold.
        """
        error = np.array([not step.hard for step in self.examples], dtype=np.bool_)
        bad = self.score < threshold
        found = [
            (self.task[path[0]], _find_first(error[path]), _find_first(bad[path])) for path in self.iterate_paths()
        ]
        task, lost, predicted = np.array(found, dtype=np.int64).reshape(-1, 3).T
        return task, lost, predicted

    def iterate_paths(self) -> Iterator[list[int]]:
        """Yield the rows of each complete path from its first step to its leaf, whose estimate is 0 or 1."""
        paths: dict[tuple[str, str], list[int]] = {}
        leaves: dict[tuple[str, str], list[int]] = {}
        for row in np.argsort(self.depth, kind="stable").tolist():
            step = self.examples[row]
            parent, node = (step.task_id, step.group), (step.task_id, step.node_id)
            if self.depth[row] > 1 and parent not in paths:
                continue  # a step before it is missing
            leaves.pop(parent, None)
            paths[node] = leaves[node] = [*paths.get(parent, ()), row]
        for path in leaves.values():
            if self.soft[path[-1]] in (0, 1):  # else a step after it is missing
                yield path


def _find_first(marks: BoolArray) -> int:
    """Return the one-based position of the first mark, 0 if there is none."""
    return int(marks.argmax()) + 1 if marks.any() else 0


def assign_ids(names: Sequence[T]) -> dict[T, int]:
    """Return an index for each distinct name, in order of appearance."""
    return {name: index for index, name in enumerate(dict.fromkeys(names))}
