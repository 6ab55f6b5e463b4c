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
"""The lowest score of a step that is judged good."""
BINS = 15
"""Of equal width, as in Guo et al. 2017 (arXiv 1706.04599)."""
MIN_PROBABILITY = 1e-7
"""Where its logarithm is needed, a score is at least this far from 0 and 1."""


@dataclass(frozen=True)
class PRMMetric:
    """A value with its 95 % interval, None where one task says nothing about spread, and how many things it is of."""

    value: float
    low: float | None
    high: float | None
    n: int
    template_low: float | None = None
    """The same interval with whole templates of tasks drawn; None where no task has one."""
    template_high: float | None = None


@dataclass(frozen=True)
class ReliabilityBin:
    """The steps with a score in [low, high), in the last bin 1 included."""

    low: float
    high: float
    score: float
    """Their mean score."""
    soft: PRMMetric
    """Their mean estimate; a calibrated PRM has the two equal."""
    share: float
    """Their share of all steps."""


@dataclass(frozen=True)
class PRMReport:
    """What the scores are worth. Metrics that the examples do not determine are absent: AUROC without labels, say."""

    metrics: Mapping[str, PRMMetric]
    by_depth: Mapping[int, PRMMetric]
    """`pairwise_accuracy` of siblings at each depth; the root's children have depth 1."""
    bins: Sequence[ReliabilityBin]
    """Those that hold any step."""


def compute_headline_metrics(
    examples: Sequence[ProcessExample], scores: Sequence[float], *, threshold: float = THRESHOLD
) -> dict[str, float]:
    """The value of every metric that the examples determine, without intervals: what fits into a validation.

    Raises ValueError unless there is one score in [0, 1] for each example.
    """
    steps = ScoredSteps.from_scores(examples, scores)
    values = {name: made.value for name, made in _build_statistics(steps, threshold, False).items()}
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
    """Everything with its intervals. `weigh_pairs`: a pair counts as the product of its multiplicities, not once.

    `templates` names the template of each task id. Raises ValueError unless there is one score in [0, 1] for each
    example.
    """
    steps = ScoredSteps.from_scores(examples, scores)
    bins, depths = (np.unique(places).tolist() for places in (_assign_bins(steps), steps.depth))
    statistics = dict[Hashable, Statistic](_build_statistics(steps, threshold, weigh_pairs).items())
    statistics |= {("depth", depth): _build_pairwise_accuracy(steps, weigh_pairs, depth) for depth in depths}
    statistics |= {("bin", place): steps.build_mean(steps.soft, _assign_bins(steps) == place) for place in bins}
    found = _add_intervals(statistics, _assign_templates(steps, templates or {}), seed, draws)
    return PRMReport(
        metrics={name: metric for name, metric in found.items() if isinstance(name, str)},
        by_depth={depth: found["depth", depth] for depth in depths if ("depth", depth) in found},
        bins=[_summarize_bin(steps, place, found["bin", place]) for place in bins],
    )


def _build_statistics(steps: ScoredSteps, threshold: float, weigh_pairs: bool) -> dict[str, Statistic]:
    """Every metric by its name."""
    known, tasks = steps.labelled, len(steps.tasks)
    sure = np.clip(steps.score, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    log_loss = -(steps.soft * np.log(sure) + (1 - steps.soft) * np.log(1 - sure))
    right = ((steps.score >= threshold) == steps.label).astype(np.float64)
    return {
        "accuracy": steps.build_mean(right, known),
        "auroc": build_auc(steps.score[known], steps.label[known], steps.weight[known], steps.task[known], tasks),
        "pairwise_accuracy": _build_pairwise_accuracy(steps, weigh_pairs),
        **_build_first_error_metrics(steps, threshold),
        **_build_selection_regret(steps),
        "ece": _build_calibration_error(steps),
        "brier": steps.build_mean((steps.score - steps.soft) ** 2),
        "log_loss": steps.build_mean(log_loss),
    }


def _build_pairwise_accuracy(steps: ScoredSteps, weigh: bool, depth: int | None = None) -> Statistic:
    """Siblings of one depth or of all: does the better one have the higher score?"""
    left, right = steps.find_sibling_pairs()
    ran = steps.ran[left].astype(np.int64) - steps.ran[right]
    better = np.where(ran != 0, ran, np.sign(steps.soft[left] - steps.soft[right]))
    among = (better != 0) & (True if depth is None else steps.depth[left] == depth)
    left, right, better = left[among], right[among], better[among]
    won = (np.sign(steps.score[left] - steps.score[right]) * better + 1) / 2
    weights = steps.weight[left] * steps.weight[right] if weigh else np.ones(len(won))
    return build_mean(won, weights, steps.task[left], len(steps.tasks))


def _build_first_error_metrics(steps: ScoredSteps, threshold: float) -> dict[str, Statistic]:
    """Is the step predicted at which a path is lost, and none on a path that is not?"""
    task, lost, predicted = steps.find_first_errors(threshold)
    right, bad = (lost == predicted).astype(np.float64), (lost > 0).astype(np.float64)

    def harmonic(sums: FloatArray) -> FloatArray:
        erroneous, correct = divide_or_nan(sums[:, 0], sums[:, 1]), divide_or_nan(sums[:, 2], sums[:, 3])
        both = np.where(erroneous + correct == 0, 1.0, erroneous + correct)  # 0 where both are, nan where one is
        return 2 * erroneous * correct / both

    tasks, ones = len(steps.tasks), np.ones(len(right))
    columns = [right * bad, bad, right * (1 - bad), 1 - bad]
    return {
        "first_error_f1": build_from_sums(columns, task, tasks, harmonic),
        "first_error_erroneous": build_mean(right[bad > 0], ones[bad > 0], task[bad > 0], tasks),
        "first_error_correct": build_mean(right[bad == 0], ones[bad == 0], task[bad == 0], tasks),
    }


def _build_selection_regret(steps: ScoredSteps) -> dict[str, Statistic]:
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
    return {name: build_mean(values[many], ones, task, len(steps.tasks)) for name, values in made.items()}


def _build_calibration_error(steps: ScoredSteps) -> Statistic:
    """The mean distance, over steps, of their bin's mean score from its mean estimate."""
    bins = _assign_bins(steps)
    inside = [(bins == place) * steps.weight for place in range(BINS)]
    columns = [each * (steps.score - steps.soft) for each in inside]

    def error(sums: FloatArray) -> FloatArray:
        return divide_or_nan(np.abs(sums[:, :BINS]).sum(axis=1), sums[:, BINS])

    return build_from_sums([*columns, steps.weight], steps.task, len(steps.tasks), error, recentred=True)


def _assign_bins(steps: ScoredSteps) -> IndexArray:
    """The bin of each step."""
    return np.minimum((steps.score * BINS).astype(np.int64), BINS - 1)


def _summarize_bin(steps: ScoredSteps, place: int, soft: PRMMetric) -> ReliabilityBin:
    inside = _assign_bins(steps) == place
    weight = steps.weight[inside]
    return ReliabilityBin(
        low=place / BINS,
        high=(place + 1) / BINS,
        score=float(np.average(steps.score[inside], weights=weight)),
        soft=soft,
        share=float(weight.sum() / steps.weight.sum()),
    )


def _assign_templates(steps: ScoredSteps, templates: Mapping[str, str | None]) -> IndexArray | None:
    """The template of each task as a number; a task without one is a template of its own. None if none has one."""
    named = [templates.get(task) for task in steps.tasks]
    if not any(named):
        return None
    labels: list[Hashable] = [name or (place,) for place, name in enumerate(named)]
    numbers = assign_ids(labels)
    return np.array([numbers[label] for label in labels], dtype=np.int64)


def _add_intervals(
    statistics: Mapping[Hashable, Statistic], templates: IndexArray | None, seed: int, draws: int
) -> dict[Hashable, PRMMetric]:
    """The statistics that have a value."""
    values = {name: made.value for name, made in statistics.items()}
    known = {name: statistics[name] for name, value in values.items() if not math.isnan(value)}
    by_task = bootstrap_statistics(known, seed=seed, draws=draws)
    by_template = bootstrap_statistics(known, seed=seed, draws=draws, merged=templates) if templates is not None else {}
    return {
        name: PRMMetric(
            values[name], *_unpack_interval(by_task[name]), made.count, *_unpack_interval(by_template.get(name))
        )
        for name, made in known.items()
    }


def _unpack_interval(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval or (None, None)
