"""How well a PRM judges: its scores of process examples against what rollouts say of the same steps.

- `accuracy`, `auroc`: against the label, which compares a step with its siblings; steps without one are left out.
- `ece`, `brier`, `log_loss`: against the soft estimate, which says what a score should be. `log_loss` is bounded below
  by the estimates' own entropy and not by 0.
- `pairwise_accuracy`: over pairs of siblings of which one is better: it alone ran, or its soft estimate is higher. The
  share in which the better one has the higher score; equal scores count half.
- `first_error_f1` (after ProcessBench, arXiv 2412.06559): a path from the root to a leaf is lost at its first step of
  estimate 0; predicted is the first step with a score below the threshold. The harmonic mean of
  `first_error_erroneous`, the share of lost paths whose place is predicted exactly, and `first_error_correct`, the
  share of successful paths for which none is. Each different path counts once; one of which steps are missing does not.
- `selection_regret`: by how much the estimate of the sibling with the highest score (the mean of those that share it)
  falls short of the best sibling's; the mean over groups of two and more. `selection_regret_random`: of a random one.

Steps count as often as they were sampled (`multiplicity`), pairs, paths and groups once. Intervals draw whole tasks,
since the steps of one resemble each other.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codetool.evaluation.cluster_bootstrap import Array, Places, Statistic, area, bootstrap, divided, mean, of_sums
from codetool.evaluation.intervals import DRAWS, Interval
from codetool.evaluation.scored_steps import JudgedSteps, numbered
from codetool.model_types import ProcessExample

THRESHOLD = 0.5
"""The lowest score of a step that is judged good."""
BINS = 15
"""Of equal width, as in Guo et al. 2017 (arXiv 1706.04599)."""
SMALLEST = 1e-7
"""Where its logarithm is needed, a score is at least this far from 0 and 1."""


@dataclass(frozen=True)
class Metric:
    """A value with its 95 % interval, None where one task says nothing about spread, and how many things it is of."""

    value: float
    low: float | None
    high: float | None
    n: int
    template_low: float | None = None
    """The same interval with whole templates of tasks drawn; None where no task has one."""
    template_high: float | None = None


@dataclass(frozen=True)
class Bin:
    """The steps with a score in [low, high), in the last bin 1 included."""

    low: float
    high: float
    score: float
    """Their mean score."""
    soft: Metric
    """Their mean estimate; a calibrated PRM has the two equal."""
    share: float
    """Their share of all steps."""


@dataclass(frozen=True)
class Measurement:
    """What the scores are worth. Metrics that the examples do not determine are absent: AUROC without labels, say."""

    metrics: Mapping[str, Metric]
    by_depth: Mapping[int, Metric]
    """`pairwise_accuracy` of siblings at each depth; the root's children have depth 1."""
    bins: Sequence[Bin]
    """Those that hold any step."""


def headline(
    examples: Sequence[ProcessExample], scores: Sequence[float], *, threshold: float = THRESHOLD
) -> dict[str, float]:
    """The value of every metric that the examples determine, without intervals: what fits into a validation.

    Raises ValueError unless there is one score in [0, 1] for each example.
    """
    steps = JudgedSteps.of(examples, scores)
    values = {name: made.value for name, made in _statistics(steps, threshold, False).items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def measured(
    examples: Sequence[ProcessExample],
    scores: Sequence[float],
    *,
    threshold: float = THRESHOLD,
    weigh_pairs: bool = False,
    templates: Mapping[str, str | None] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Measurement:
    """Everything with its intervals. `weigh_pairs`: a pair counts as the product of its multiplicities, not once.

    `templates` names the template of each task id. Raises ValueError unless there is one score in [0, 1] for each
    example.
    """
    steps = JudgedSteps.of(examples, scores)
    bins, depths = (np.unique(places).tolist() for places in (_bins(steps), steps.depth))
    statistics = dict[Hashable, Statistic](_statistics(steps, threshold, weigh_pairs).items())
    statistics |= {("depth", depth): _pairwise(steps, weigh_pairs, depth) for depth in depths}
    statistics |= {("bin", place): steps.mean(steps.soft, _bins(steps) == place) for place in bins}
    found = _with_intervals(statistics, _templates(steps, templates or {}), seed, draws)
    return Measurement(
        metrics={name: metric for name, metric in found.items() if isinstance(name, str)},
        by_depth={depth: found["depth", depth] for depth in depths if ("depth", depth) in found},
        bins=[_bin(steps, place, found["bin", place]) for place in bins],
    )


def _statistics(steps: JudgedSteps, threshold: float, weigh_pairs: bool) -> dict[str, Statistic]:
    """Every metric by its name."""
    known, tasks = steps.labelled, len(steps.tasks)
    sure = np.clip(steps.score, SMALLEST, 1 - SMALLEST)
    log_loss = -(steps.soft * np.log(sure) + (1 - steps.soft) * np.log(1 - sure))
    right = ((steps.score >= threshold) == steps.label).astype(np.float64)
    return {
        "accuracy": steps.mean(right, known),
        "auroc": area(steps.score[known], steps.label[known], steps.weight[known], steps.task[known], tasks),
        "pairwise_accuracy": _pairwise(steps, weigh_pairs),
        **_first_error(steps, threshold),
        **_regret(steps),
        "ece": _calibration_error(steps),
        "brier": steps.mean((steps.score - steps.soft) ** 2),
        "log_loss": steps.mean(log_loss),
    }


def _pairwise(steps: JudgedSteps, weigh: bool, depth: int | None = None) -> Statistic:
    """Siblings of one depth or of all: does the better one have the higher score?"""
    left, right = steps.pairs()
    ran = steps.ran[left].astype(np.int64) - steps.ran[right]
    better = np.where(ran != 0, ran, np.sign(steps.soft[left] - steps.soft[right]))
    among = (better != 0) & (True if depth is None else steps.depth[left] == depth)
    left, right, better = left[among], right[among], better[among]
    won = (np.sign(steps.score[left] - steps.score[right]) * better + 1) / 2
    weights = steps.weight[left] * steps.weight[right] if weigh else np.ones(len(won))
    return mean(won, weights, steps.task[left], len(steps.tasks))


def _first_error(steps: JudgedSteps, threshold: float) -> dict[str, Statistic]:
    """Is the step predicted at which a path is lost, and none on a path that is not?"""
    task, lost, predicted = steps.paths(threshold)
    right, bad = (lost == predicted).astype(np.float64), (lost > 0).astype(np.float64)

    def harmonic(sums: Array) -> Array:
        erroneous, correct = divided(sums[:, 0], sums[:, 1]), divided(sums[:, 2], sums[:, 3])
        both = np.where(erroneous + correct == 0, 1.0, erroneous + correct)  # 0 where both are, nan where one is
        return 2 * erroneous * correct / both

    tasks, ones = len(steps.tasks), np.ones(len(right))
    columns = [right * bad, bad, right * (1 - bad), 1 - bad]
    return {
        "first_error_f1": of_sums(columns, task, tasks, harmonic),
        "first_error_erroneous": mean(right[bad > 0], ones[bad > 0], task[bad > 0], tasks),
        "first_error_correct": mean(right[bad == 0], ones[bad == 0], task[bad == 0], tasks),
    }


def _regret(steps: JudgedSteps) -> dict[str, Statistic]:
    """What choosing among siblings by score, or by chance, loses."""
    if not len(steps.group):
        return {}
    first = np.flatnonzero(np.diff(steps.group, prepend=-1))
    sizes = np.diff(first, append=len(steps.group))
    best = np.maximum.reduceat(steps.soft, first)
    chosen = (steps.score == np.repeat(np.maximum.reduceat(steps.score, first), sizes)).astype(np.float64)
    got = np.add.reduceat(steps.soft * chosen, first) / np.add.reduceat(chosen, first)
    by_chance = np.add.reduceat(steps.soft, first) / sizes
    many = sizes > 1
    task, ones = steps.task[first][many], np.ones(int(many.sum()))
    made = {"selection_regret": best - got, "selection_regret_random": best - by_chance}
    return {name: mean(values[many], ones, task, len(steps.tasks)) for name, values in made.items()}


def _calibration_error(steps: JudgedSteps) -> Statistic:
    """The mean distance, over steps, of their bin's mean score from its mean estimate."""
    bins = _bins(steps)
    inside = [(bins == place) * steps.weight for place in range(BINS)]
    columns = [each * (steps.score - steps.soft) for each in inside]

    def error(sums: Array) -> Array:
        return divided(np.abs(sums[:, :BINS]).sum(axis=1), sums[:, BINS])

    return of_sums([*columns, steps.weight], steps.task, len(steps.tasks), error, recentred=True)


def _bins(steps: JudgedSteps) -> Places:
    """The bin of each step."""
    return np.minimum((steps.score * BINS).astype(np.int64), BINS - 1)


def _bin(steps: JudgedSteps, place: int, soft: Metric) -> Bin:
    inside = _bins(steps) == place
    weight = steps.weight[inside]
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        score=float(np.average(steps.score[inside], weights=weight)),
        soft=soft,
        share=float(weight.sum() / steps.weight.sum()),
    )


def _templates(steps: JudgedSteps, templates: Mapping[str, str | None]) -> Places | None:
    """The template of each task as a number; a task without one is a template of its own. None if none has one."""
    named = [templates.get(task) for task in steps.tasks]
    if not any(named):
        return None
    labels: list[Hashable] = [name or (place,) for place, name in enumerate(named)]
    numbers = numbered(labels)
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def _with_intervals(
    statistics: Mapping[Hashable, Statistic], templates: Places | None, seed: int, draws: int
) -> dict[Hashable, Metric]:
    """The statistics that have a value."""
    values = {name: made.value for name, made in statistics.items()}
    known = {name: statistics[name] for name, value in values.items() if not math.isnan(value)}
    by_task = bootstrap(known, seed=seed, draws=draws)
    by_template = bootstrap(known, seed=seed, draws=draws, merged=templates) if templates is not None else {}
    return {
        name: Metric(values[name], *_bounds(by_task[name]), made.n, *_bounds(by_template.get(name)))
        for name, made in known.items()
    }


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval or (None, None)
