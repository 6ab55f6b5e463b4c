"""Compute the metrics of a PRM: compare its scores of process examples with the rollout estimates of the same steps.

- `accuracy`, `auroc`: against the label, which compares a step with its siblings. Steps without a label are left out.
- `ece`, `brier`, `log_loss`: against the soft estimate, the share of leaves below the step that succeed. The lower
  bound of `log_loss` is the entropy of the estimates, not 0.
- `pairwise_accuracy`: the share of sibling pairs in which the better step has the higher score; equal scores count
  half. A step is better than its sibling if it alone executed, or if its soft estimate is higher.
- `first_error_f1` (after ProcessBench, arXiv 2412.06559): the first error of a path from root to leaf is its first
  step with estimate 0, and the predicted one is the first step with a score below the threshold. The metric is the
  harmonic mean of `first_error_erroneous`, the share of erroneous paths whose first error is predicted exactly, and
  `first_error_correct`, the share of successful paths without a predicted error. `first_error_accuracy` is the share of
  all paths on which the predicted first error, or none, is the true one. Each distinct path counts once; paths with
  missing steps do not count.
- `selection_regret`: the best sibling's estimate minus that of the sibling with the highest score (the mean in a tie),
  averaged over groups of at least two. `selection_regret_random`: the same for a randomly chosen sibling.

Steps are weighted by how often they were sampled (`multiplicity`); pairs, paths and groups count once. Intervals
resample whole tasks, since the steps of a task are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codetool.evaluation.cluster_bootstrap import (
    FloatArray,
    IndexArray,
    Statistic,
    bootstrap_statistics,
    build_auc,
    build_from_sums,
    build_mean,
    divide_or_nan,
)
from codetool.evaluation.intervals import RESAMPLES, Interval
from codetool.evaluation.scored_steps import ScoredSteps, assign_ids
from codetool.model_types import ProcessExample

THRESHOLD = 0.5
"""Default of the lowest score that counts as a positive prediction."""
BINS = 15
"""Number of equal-width bins of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599)."""
MIN_PROBABILITY = 1e-7
"""Scores are clipped to at least this distance from 0 and 1 before their logarithm is taken."""


@dataclass(frozen=True)
class PRMMetric:
    """A value with its 95 % interval, None if items are of fewer than two tasks, and the number of items."""

    value: float
    low: float | None
    high: float | None
    n: int
    template_low: float | None = None
    """Interval with whole task templates resampled; None if no task has a template."""
    template_high: float | None = None


@dataclass(frozen=True)
class ReliabilityBin:
    """The steps with a score in [low, high); the last bin includes 1."""

    low: float
    high: float
    score: float
    """Mean score of the steps."""
    soft: PRMMetric
    """Mean soft estimate of the steps; equal to the mean score if the PRM is calibrated."""
    share: float
    """Share of all steps, weighted by multiplicity."""


@dataclass(frozen=True)
class PRMReport:
    """All metrics of a PRM. Metrics that the examples do not determine are absent, such as AUROC without labels."""

    metrics: Mapping[str, PRMMetric]
    by_depth: Mapping[int, PRMMetric]
    """`pairwise_accuracy` of siblings by depth; the root's children have depth 1."""
    bins: Sequence[ReliabilityBin]
    """The non-empty bins."""


def compute_headline_metrics(
    examples: Sequence[ProcessExample], scores: Sequence[float], *, threshold: float = THRESHOLD
) -> dict[str, float]:
    """Return the value of every metric that the examples determine, without intervals, for validation in training.

    Raises ValueError unless there is one score in [0, 1] for each example.
    """
    steps = ScoredSteps.from_scores(examples, scores)
    values = {name: statistic.value for name, statistic in _build_statistics(steps, threshold, False).items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def measure_prm(
    examples: Sequence[ProcessExample],
    scores: Sequence[float],
    *,
    threshold: float = THRESHOLD,
    weigh_pairs: bool = False,
    templates: Mapping[str, str | None] | None = None,
    seed: int = 0,
    draws: int = RESAMPLES,
) -> PRMReport:
    """Return all metrics with their intervals.

    With `weigh_pairs` a pair is weighted by the product of its multiplicities. `templates` gives the template of each
    task id. Raises ValueError unless there is one score in [0, 1] for each example.
    """
    steps = ScoredSteps.from_scores(examples, scores)
    bins, depths = (np.unique(places).tolist() for places in (_assign_bins(steps), steps.depth))
    statistics = dict[Hashable, Statistic](_build_statistics(steps, threshold, weigh_pairs).items())
    statistics |= {("depth", depth): _build_pairwise_accuracy(steps, weigh_pairs, depth) for depth in depths}
    statistics |= {
        ("bin", bin_index): steps.build_mean(steps.soft, _assign_bins(steps) == bin_index) for bin_index in bins
    }
    metrics = add_intervals(statistics, assign_templates(steps.tasks, templates or {}), seed, draws)
    return PRMReport(
        metrics={name: metric for name, metric in metrics.items() if isinstance(name, str)},
        by_depth={depth: metrics["depth", depth] for depth in depths if ("depth", depth) in metrics},
        bins=[_summarize_bin(steps, bin_index, metrics["bin", bin_index]) for bin_index in bins],
    )


def _build_statistics(steps: ScoredSteps, threshold: float, weigh_pairs: bool) -> dict[str, Statistic]:
    """Return every metric as a statistic, by name."""
    labelled, tasks = steps.labelled, len(steps.tasks)
    clipped = np.clip(steps.score, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    log_loss = -(steps.soft * np.log(clipped) + (1 - steps.soft) * np.log(1 - clipped))
    correct = ((steps.score >= threshold) == steps.label).astype(np.float64)
    return {
        "accuracy": steps.build_mean(correct, labelled),
        "auroc": build_auc(
            steps.score[labelled], steps.label[labelled], steps.weight[labelled], steps.task[labelled], tasks
        ),
        "pairwise_accuracy": _build_pairwise_accuracy(steps, weigh_pairs),
        **_build_first_error_metrics(steps, threshold),
        **_build_selection_regret(steps),
        "ece": _build_calibration_error(steps),
        "brier": steps.build_mean((steps.score - steps.soft) ** 2),
        "log_loss": steps.build_mean(log_loss),
    }


def _build_pairwise_accuracy(steps: ScoredSteps, weigh_pairs: bool, depth: int | None = None) -> Statistic:
    """Return the share of sibling pairs, at one depth or at all, in which the better step has the higher score."""
    left, right = steps.find_sibling_pairs()
    ran = steps.ran[left].astype(np.int64) - steps.ran[right]
    better = np.where(ran != 0, ran, np.sign(steps.soft[left] - steps.soft[right]))
    comparable = (better != 0) & (True if depth is None else steps.depth[left] == depth)
    left, right, better = left[comparable], right[comparable], better[comparable]
    won = (np.sign(steps.score[left] - steps.score[right]) * better + 1) / 2
    weights = steps.weight[left] * steps.weight[right] if weigh_pairs else np.ones(len(won))
    return build_mean(won, weights, steps.task[left], len(steps.tasks))


def _build_first_error_metrics(steps: ScoredSteps, threshold: float) -> dict[str, Statistic]:
    """Return `first_error_f1`, the two shares that it is the harmonic mean of, and the share of all paths."""
    task, lost, predicted = steps.find_first_errors(threshold)
    correct, bad = (lost == predicted).astype(np.float64), (lost > 0).astype(np.float64)

    def harmonic(sums: FloatArray) -> FloatArray:
        erroneous, correct = divide_or_nan(sums[:, 0], sums[:, 1]), divide_or_nan(sums[:, 2], sums[:, 3])
        both = np.where(erroneous + correct == 0, 1.0, erroneous + correct)  # 0 where both are, nan where one is
        return 2 * erroneous * correct / both

    tasks, ones = len(steps.tasks), np.ones(len(correct))
    columns = [correct * bad, bad, correct * (1 - bad), 1 - bad]
    return {
        "first_error_f1": build_from_sums(columns, task, tasks, harmonic),
        "first_error_accuracy": build_mean(correct, ones, task, tasks),
        "first_error_erroneous": build_mean(correct[bad > 0], ones[bad > 0], task[bad > 0], tasks),
        "first_error_correct": build_mean(correct[bad == 0], ones[bad == 0], task[bad == 0], tasks),
    }


def _build_selection_regret(steps: ScoredSteps) -> dict[str, Statistic]:
    """Return the regret of choosing among siblings by score, and at random."""
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
    regrets = {"selection_regret": best - got, "selection_regret_random": best - by_chance}
    return {name: build_mean(values[many], ones, task, len(steps.tasks)) for name, values in regrets.items()}


def _build_calibration_error(steps: ScoredSteps) -> Statistic:
    """Return the expected calibration error: the mean over steps of |mean score - mean estimate| of their bin."""
    bins = _assign_bins(steps)
    inside = [(bins == bin_index) * steps.weight for bin_index in range(BINS)]
    columns = [bin_weights * (steps.score - steps.soft) for bin_weights in inside]

    def error(sums: FloatArray) -> FloatArray:
        return divide_or_nan(np.abs(sums[:, :BINS]).sum(axis=1), sums[:, BINS])

    return build_from_sums([*columns, steps.weight], steps.task, len(steps.tasks), error, correct_bias=True)


def _assign_bins(steps: ScoredSteps) -> IndexArray:
    """Return the bin index of each step."""
    return np.minimum((steps.score * BINS).astype(np.int64), BINS - 1)


def _summarize_bin(steps: ScoredSteps, bin_index: int, soft: PRMMetric) -> ReliabilityBin:
    inside = _assign_bins(steps) == bin_index
    weight = steps.weight[inside]
    return ReliabilityBin(
        low=bin_index / BINS,
        high=(bin_index + 1) / BINS,
        score=float(np.average(steps.score[inside], weights=weight)),
        soft=soft,
        share=float(weight.sum() / steps.weight.sum()),
    )


def assign_templates(tasks: Sequence[str], templates: Mapping[str, str | None]) -> IndexArray | None:
    """Return the template index of each task; a task without a template gets its own. None if no task has one."""
    names = [templates.get(task) for task in tasks]
    if not any(names):
        return None
    labels: list[Hashable] = [name or (bin_index,) for bin_index, name in enumerate(names)]
    numbers = assign_ids(labels)
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def add_intervals(
    statistics: Mapping[Hashable, Statistic], templates: IndexArray | None, seed: int, draws: int
) -> dict[Hashable, PRMMetric]:
    """Return the statistics that are defined, with their intervals."""
    values = {name: statistic.value for name, statistic in statistics.items()}
    defined = {name: statistics[name] for name, value in values.items() if not math.isnan(value)}
    by_task = bootstrap_statistics(defined, seed=seed, draws=draws)
    by_template = (
        bootstrap_statistics(defined, seed=seed, draws=draws, merged=templates) if templates is not None else {}
    )
    return {
        name: PRMMetric(
            values[name], *_unpack_interval(by_task[name]), statistic.count, *_unpack_interval(by_template.get(name))
        )
        for name, statistic in defined.items()
    }


def _unpack_interval(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval or (None, None)
