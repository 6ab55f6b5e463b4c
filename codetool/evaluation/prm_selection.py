"""Selection by budget: how good the candidate is that a PRM chooses among n, against a random choice and the best one.

A pool holds candidates of the same question: siblings after one path, whose value is their soft estimate, or the
complete paths of one task, whose value is their success and whose score is the mean score of their steps. n candidates
are drawn from the pool without replacement, and the one with the highest score is chosen (a tie is broken at random).
The expected value of that choice is computed exactly, with no draw:

    E = sum over scores s of  mean value of the candidates with score s  *  (C(m<=s, n) - C(m<s, n)) / C(m, n)

where m is the number of candidates of the pool and m<=s of those with a score up to s. A candidate that was sampled
several times counts as often. Pools of fewer than n candidates are left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, prod
from typing import Literal

import numpy as np

from codetool.evaluation.cluster_bootstrap import FloatArray, Statistic, build_from_sums, build_mean, divide_or_nan
from codetool.evaluation.intervals import RESAMPLES
from codetool.evaluation.prm_metrics import PRMMetric, add_intervals, assign_templates
from codetool.evaluation.scored_steps import ScoredSteps, assign_ids
from codetool.model_types import ProcessExample

Level = Literal["steps", "paths"]
NAMES = ("prm", "random", "oracle", "gain", "recovered")
"""Value of the PRM's choice, of a random one and of the best one; the PRM's minus the random one's, also as a share of
what the best one gains."""


@dataclass
class Pool:
    """Candidates of one question: their scores, values and how often each was sampled."""

    task: str
    scores: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Number of sampled candidates."""
        return sum(self.counts)

    def add(self, score: float, value: float, count: int) -> None:
        """Add a candidate that was sampled `count` times."""
        self.scores.append(score)
        self.values.append(value)
        self.counts.append(count)


@dataclass(frozen=True)
class Selection:
    """Values of the choice among n candidates, averaged over pools."""

    level: Level
    n: int
    pools: int
    """Number of pools with at least n candidates."""
    metrics: Mapping[str, PRMMetric]
    """By the names of `NAMES`; `recovered` is absent if the best choice gains nothing."""


def measure_selection(
    examples: Sequence[ProcessExample],
    scores: Sequence[float],
    *,
    templates: Mapping[str, str | None] | None = None,
    questions: Mapping[str, str] | None = None,
    outcomes: Mapping[str, float] | None = None,
    seed: int = 0,
    draws: int = RESAMPLES,
) -> list[Selection]:
    """Return the selection among n = 2, 4, 8 … siblings and complete paths, as far as any pool has so many.

    `questions` names the question of a task whose paths compete with those of other tasks, and `outcomes` the success
    of a task's only path if its last step does not tell it. Intervals resample whole tasks, and whole templates.
    """
    steps = ScoredSteps.from_scores(examples, scores)
    names = {task: (questions or {}).get(task, task) for task in steps.tasks}
    pools: dict[Level, list[Pool]] = {
        "steps": list(_pool_siblings(steps)),
        "paths": list(_pool_paths(steps, names, outcomes or {})),
    }
    statistics: dict[Hashable, Statistic] = {}
    for level, pools_of_level in pools.items():
        for n in _list_budgets(pools_of_level):
            statistics |= _build_statistics(steps.tasks, level, n, pools_of_level)
    metrics = add_intervals(statistics, assign_templates(steps.tasks, templates or {}), seed, draws)
    return [_collect(level, n, pools[level], metrics) for level in pools for n in _list_budgets(pools[level])]


def compute_choice(scores: Sequence[float], values: Sequence[float], counts: Sequence[int], n: int) -> float:
    """Return the expected value of the candidate with the highest score among n that are drawn without replacement.

    `counts` says how often each candidate was sampled; n must not exceed their sum.
    """
    total, below, expected = comb(sum(counts), n), 0, 0.0
    for score in sorted(set(scores)):
        tied = [index for index, other in enumerate(scores) if other == score]
        weight = sum(counts[index] for index in tied)
        mean = sum(values[index] * counts[index] for index in tied) / weight
        expected += mean * (comb(below + weight, n) - comb(below, n)) / total
        below += weight
    return expected


def _list_budgets(pools: Sequence[Pool]) -> list[int]:
    """Return 2, 4, 8 … up to the size of the largest pool."""
    largest = max((pool.size for pool in pools), default=0)
    return [2**power for power in range(1, largest.bit_length()) if 2**power <= largest]


def _pool_siblings(steps: ScoredSteps) -> Iterator[Pool]:
    pools: dict[int, Pool] = {}
    for row, group in enumerate(steps.group.tolist()):
        pool = pools.setdefault(group, Pool(steps.examples[row].task_id))
        pool.add(float(steps.score[row]), float(steps.soft[row]), steps.examples[row].multiplicity)
    yield from pools.values()


def _pool_paths(steps: ScoredSteps, questions: Mapping[str, str], outcomes: Mapping[str, float]) -> Iterator[Pool]:
    pools: dict[str, Pool] = {}
    for path in steps.iterate_paths():
        task = steps.examples[path[0]].task_id
        value = outcomes.get(task, float(steps.soft[path[-1]]))
        count = prod(steps.examples[row].multiplicity for row in path)
        pools.setdefault(questions[task], Pool(task)).add(float(steps.score[path].mean()), value, count)
    yield from pools.values()


def _build_statistics(tasks: Sequence[str], level: Level, n: int, pools: Sequence[Pool]) -> dict[Hashable, Statistic]:
    large = [pool for pool in pools if pool.size >= n]
    ids = assign_ids(tasks)
    clusters = np.array([ids[pool.task] for pool in large], dtype=np.int64)
    prm = np.array([compute_choice(pool.scores, pool.values, pool.counts, n) for pool in large])
    best = np.array([compute_choice(pool.values, pool.values, pool.counts, n) for pool in large])
    chance = np.array([float(np.average(pool.values, weights=pool.counts)) for pool in large])
    means = {"prm": prm, "random": chance, "oracle": best, "gain": prm - chance}
    ones = np.ones(len(large))
    statistics: dict[Hashable, Statistic] = {
        (level, n, name): build_mean(values, ones, clusters, len(tasks)) for name, values in means.items()
    }

    def share(sums: FloatArray) -> FloatArray:
        return divide_or_nan(sums[..., 0], sums[..., 1])

    statistics[level, n, "recovered"] = build_from_sums([prm - chance, best - chance], clusters, len(tasks), share)
    return statistics


def _collect(level: Level, n: int, pools: Sequence[Pool], metrics: Mapping[Hashable, PRMMetric]) -> Selection:
    found = {name: metrics[level, n, name] for name in NAMES if (level, n, name) in metrics}
    return Selection(level, n, sum(pool.size >= n for pool in pools), found)
