"""Means and paired differences of runs over the same tasks.

The seeds of a task are averaged first, so that each task counts once. Then tasks are resampled; for a second interval
whole templates, since tasks of one template are correlated. Pairing removes the difficulty of tasks, which both runs
share and which is most of the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from codetool.evaluation.intervals import RESAMPLES, Interval, bootstrap_mean
from codetool.evaluation.result_files import natural_sort_key
from codetool.evaluation.significance import (
    compute_detectable_difference,
    compute_mcnemar_p,
    compute_widened_tail,
    correct_holm,
)

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


@dataclass(frozen=True)
class PairedDifference:
    """The difference of one metric between two systems, over the tasks that both have."""

    first: float
    """Mean of the first system over the common tasks."""
    second: float
    """Mean of the second system over them."""
    estimate: MeanEstimate
    """First minus second. Its intervals are widened for few tasks or templates (`compute_widened_tail`)."""
    detectable: float | None
    """Smallest true difference that these tasks show with a power of 80 %; None if unknown."""
    template_detectable: float | None
    """The same with templates as the units."""
    wins: int
    """Tasks on which the first system has the higher value."""
    losses: int
    """Tasks on which the second one has."""
    p: float | None
    """p-value of McNemar's exact test; None for a metric that is no rate or share."""
    p_holm: float | None
    """The same, corrected for the number of comparisons."""


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
    values: TaskValues,
    templates: Mapping[str, str | None],
    *,
    seed: int = 0,
    draws: int = RESAMPLES,
    tail: Callable[[int], float] = lambda count: 0.025,
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
        interval=bootstrap_mean(numbers, seed=seed, draws=draws, tail=tail),
        template_interval=bootstrap_mean(numbers, clusters, seed=seed, draws=draws, tail=tail),
        tasks=len(numbers),
        templates=len(set(clusters)),
    )


def compare_systems(
    first: TaskValues, second: TaskValues, templates: Mapping[str, str | None], *, tests: bool = True, seed: int = 0
) -> PairedDifference | None:
    """Compare two systems on the tasks that both have; None without one.

    The values are means over the seeds and repeats of each task. `tests` tells whether the metric is a rate or share,
    so that the tasks on which a system is better can be counted.
    """
    differences = compute_differences([(first, second)])
    estimate = estimate_mean(differences, templates, seed=seed, tail=compute_widened_tail)
    if estimate is None:
        return None
    numbers, clusters = list(differences.values()), [templates.get(task) or (task,) for task in differences]
    wins, losses = sum(number > 0 for number in numbers), sum(number < 0 for number in numbers)
    p = compute_mcnemar_p(wins, losses) if tests else None
    return PairedDifference(
        first=sum(first[task] for task in differences) / len(differences),
        second=sum(second[task] for task in differences) / len(differences),
        estimate=estimate,
        detectable=compute_detectable_difference(numbers),
        template_detectable=compute_detectable_difference(numbers, clusters),
        wins=wins,
        losses=losses,
        p=p,
        p_holm=p,
    )


def correct_p_values(differences: Sequence[PairedDifference]) -> list[PairedDifference]:
    """Return the differences of one metric with Holm's correction for their number."""
    tested = [difference for difference in differences if difference.p is not None]
    corrected = iter(correct_holm([difference.p for difference in tested if difference.p is not None]))
    return [replace(each, p_holm=next(corrected)) if each.p is not None else each for each in differences]
