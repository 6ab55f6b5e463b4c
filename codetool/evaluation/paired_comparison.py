"""Means and paired differences of runs over the same tasks.

Seeds are averaged within a task first, so that a task counts once however often it was run; then tasks are drawn, and
whole templates beside that, since tasks of one template resemble each other. Pairing removes what makes tasks easy or
hard for both runs, which is most of the spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codetool.evaluation.intervals import RESAMPLES, Interval, bootstrap_mean
from codetool.evaluation.result_files import natural_sort_key

TaskValues = Mapping[str, float]
"""A number for each task id."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over tasks with its 95 % intervals."""

    value: float
    interval: Interval | None
    """Tasks drawn; None for fewer than two."""
    template_interval: Interval | None
    """Whole templates drawn; None for fewer than two. A task without a template is one of its own."""
    tasks: int
    templates: int


def average_runs(runs: Iterable[TaskValues]) -> dict[str, float]:
    """For each task the mean over the runs that have it."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for task, value in run.items():
            found.setdefault(task, []).append(value)
    return {task: sum(values) / len(values) for task, values in found.items()}


def compute_differences(pairs: Iterable[tuple[TaskValues, TaskValues]]) -> dict[str, float]:
    """For each task the mean, over pairs of runs (one a seed) that both have it, of first minus second."""
    return average_runs(
        {task: first[task] - second[task] for task in first if task in second} for first, second in pairs
    )


def estimate_mean(
    values: TaskValues, templates: Mapping[str, str | None], *, seed: int = 0, draws: int = RESAMPLES
) -> MeanEstimate | None:
    """The mean of the tasks' values with both intervals, by bootstrap; None without a task."""
    if not values:
        return None
    # in one order, so that the intervals do not depend on which task was finished first
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
