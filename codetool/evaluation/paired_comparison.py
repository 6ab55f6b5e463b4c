"""Means and paired differences of runs over the same tasks.

The seeds of a task are averaged first, so that each task counts once. Then tasks are resampled; for a second interval
whole templates, since tasks of one template are correlated. Pairing removes the difficulty of tasks, which both runs
share and which is most of the variance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codetool.evaluation.intervals import RESAMPLES, Interval, bootstrap_mean
from codetool.evaluation.result_files import natural_sort_key

TaskValues = Mapping[str, float]
"""One value per task id."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over tasks with its 95 % intervals."""

    value: float
    interval: Interval | None
    """Interval with tasks resampled; None for fewer than two."""
    template_interval: Interval | None
    """Interval with whole templates resampled; None for fewer than two. A task without a template counts as one."""
    tasks: int
    templates: int


def average_runs(runs: Iterable[TaskValues]) -> dict[str, float]:
    """Return for each task the mean over the runs that have it."""
    values_by_task: dict[str, list[float]] = {}
    for run in runs:
        for task, value in run.items():
            values_by_task.setdefault(task, []).append(value)
    return {task: sum(values) / len(values) for task, values in values_by_task.items()}


def compute_differences(pairs: Iterable[tuple[TaskValues, TaskValues]]) -> dict[str, float]:
    """Return for each task the mean of first minus second over the pairs of runs (one per seed) that have it."""
    return average_runs(
        {task: first[task] - second[task] for task in first if task in second} for first, second in pairs
    )


def estimate_mean(
    values: TaskValues, templates: Mapping[str, str | None], *, seed: int = 0, draws: int = RESAMPLES
) -> MeanEstimate | None:
    """Return the mean of the tasks' values with both bootstrap intervals; None without a task."""
    if not values:
        return None
    # sorted, so that the intervals do not depend on the order in which tasks were finished
    order = sorted(values, key=natural_sort_key)
    numbers = [values[task] for task in order]
    clusters = [templates.get(task) or (task,) for task in order]
    return MeanEstimate(
        value=sum(numbers) / len(numbers),
        interval=bootstrap_mean(numbers, seed=seed, draws=draws),
        template_interval=bootstrap_mean(numbers, clusters, seed=seed, draws=draws),
        tasks=len(numbers),
        templates=len(set(clusters)),
    )
