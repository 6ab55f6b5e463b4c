"""Compare cells with a curve of baseline cells at equal compute.

Two cells rarely cost the same. Between two baseline cells, one cheaper and one dearer than a cell, there is a mixture
that costs as much: it runs the cheaper one with probability 1 - w and the dearer one with probability w, where w makes
the expected number of tokens equal. The mixture's expected success on a task is the weighted mean of both, so the
difference is paired by task. w is held fixed when tasks are resampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.evaluation.paired_comparison import TaskValues

COST = "tokens"
"""Tokens of policy and PRM together; both embedded models have the same size."""
Means = Mapping[str, TaskValues]
"""A number for each task, by metric."""


@dataclass(frozen=True)
class Mixture:
    """The baseline of equal cost: `cheaper` with probability 1 - `weight`, `dearer` with probability `weight`."""

    cheaper: str
    dearer: str
    weight: float


def compare_at_equal_compute(
    means: Mapping[str, Means],
    curve: Sequence[str],
    estimate: Callable[[TaskValues], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return for every cell outside the curve its paired difference in success from the baseline of equal cost.

    A cell that costs less than the cheapest or more than the dearest baseline cell has no such baseline: the entry's
    `success` is None. Cells without any task are left out.
    """
    costs = {name: _mean(found[COST]) for name, found in means.items() if found[COST]}
    ordered = sorted((name for name in curve if name in costs), key=costs.__getitem__)
    compared = []
    for name in (name for name in costs if name not in curve):
        mixture = _mix([(baseline, costs[baseline]) for baseline in ordered], costs[name])
        entry: dict[str, Any] = {"cell": name, "tokens": costs[name], "success": None}
        if mixture is not None:
            entry |= {"cheaper": mixture.cheaper, "dearer": mixture.dearer, "weight": mixture.weight}
            entry["success"] = estimate(_subtract(means[name]["success"], means, mixture))
        compared.append(entry)
    return compared


def _mix(curve: Sequence[tuple[str, float]], cost: float) -> Mixture | None:
    """Return the mixture of two neighbours on the curve that costs as much; None outside the curve."""
    for (cheaper, low), (dearer, high) in zip(curve, curve[1:], strict=False):
        if low <= cost <= high:
            return Mixture(cheaper, dearer, (cost - low) / (high - low) if high > low else 0.0)
    return None


def _subtract(success: TaskValues, means: Mapping[str, Means], mixture: Mixture) -> TaskValues:
    """Return each task's success minus the mixture's, for the tasks that all three cells have."""
    cheaper, dearer = means[mixture.cheaper]["success"], means[mixture.dearer]["success"]
    return {
        task: value - (1 - mixture.weight) * cheaper[task] - mixture.weight * dearer[task]
        for task, value in success.items()
        if task in cheaper and task in dearer
    }


def _mean(values: TaskValues) -> float:
    return sum(values.values()) / len(values)
