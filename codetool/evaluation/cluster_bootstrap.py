"""Statistics of things that come in clusters, and their intervals: whole clusters are drawn, all statistics at once.

A statistic is kept as what each cluster adds to it, so that a draw costs little more than its clusters: thousands of
draws of tens of thousands of things take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from codetool.evaluation.intervals import BATCH_NUMBERS, RESAMPLES, Interval

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.int64]
K = TypeVar("K", bound=Hashable)

CACHE_NUMBERS = 1 << 18
"""Numbers held at a time where they should stay in the processor's cache (2 MB)."""


@dataclass(frozen=True)
class Statistic:
    """A number that can be made again with each cluster counted another number of times."""

    compute: Callable[[FloatArray], FloatArray]
    """How often each cluster counts, (draws, clusters), to the values, (draws,); nan where there is none."""
    clusters: IndexArray
    """For each thing that the number is of, its cluster."""
    cluster_count: int
    """All clusters, also those that add nothing."""
    correct_bias: bool = False
    """Whether draws are shifted by their bias: noise alone makes such a number larger, and a draw adds noise to noise.
    It is never negative."""

    @property
    def value(self) -> float:
        """The number itself; nan where there is none."""
        return float(self.compute(np.ones((1, self.cluster_count)))[0])

    @property
    def count(self) -> int:
        """How many things the number is of."""
        return len(self.clusters)


def build_mean(values: FloatArray, weights: FloatArray, clusters: IndexArray, among: int) -> Statistic:
    """The weighted mean of values, each in a cluster."""

    def of(sums: FloatArray) -> FloatArray:
        return divide_or_nan(sums[..., 0], sums[..., 1])

    return build_from_sums([values * weights, weights], clusters, among, of)


def build_from_sums(
    columns: Sequence[FloatArray],
    clusters: IndexArray,
    among: int,
    of: Callable[[FloatArray], FloatArray],
    *,
    recentred: bool = False,
) -> Statistic:
    """What `of` makes of the columns' sums, given as (draws, columns)."""
    table = np.stack([np.bincount(clusters, weights=column, minlength=among) for column in columns], axis=1)
    return Statistic(lambda counts: of(counts @ table), clusters, among, recentred)


def build_auc(
    scores: FloatArray, positive: npt.NDArray[np.bool_], weights: FloatArray, clusters: IndexArray, among: int
) -> Statistic:
    """The area under the ROC curve: how often a positive has a higher score than a negative, equal ones half."""
    order = np.argsort(scores, kind="stable")
    up, down = order[positive[order]], order[~positive[order]]
    lower, upper = (np.searchsorted(scores[down], scores[up], side) for side in ("left", "right"))

    def some(counts: FloatArray) -> FloatArray:
        below = np.zeros((len(counts), len(down) + 1))
        np.cumsum(counts[:, clusters[down]] * weights[down], axis=1, out=below[:, 1:])
        mass = counts[:, clusters[up]] * weights[up]
        won = (mass * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
        return divide_or_nan(won, mass.sum(axis=1) * below[:, -1])

    def of(counts: FloatArray) -> FloatArray:
        rows = max(1, CACHE_NUMBERS // max(1, len(scores)))
        return np.concatenate([some(counts[begin : begin + rows]) for begin in range(0, len(counts), rows)])

    return Statistic(of, clusters, among)


def divide_or_nan(above: FloatArray, below: FloatArray) -> FloatArray:
    """The ratio, nan where the lower number is 0."""
    ratio: FloatArray = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)
    return ratio


def bootstrap_statistics(
    statistics: Mapping[K, Statistic], *, seed: int, draws: int = RESAMPLES, merged: IndexArray | None = None
) -> dict[K, Interval | None]:
    """Percentile intervals of statistics of the same clusters; `merged` names the cluster of clusters of each.

    None where fewer than two clusters say something: one tells nothing about spread. Draws in which a statistic is
    undefined are left out.
    """
    among = {statistic.cluster_count for statistic in statistics.values()}
    if not among:
        return {}
    [size] = among
    groups = np.arange(size) if merged is None else merged
    parts: dict[K, list[FloatArray]] = {
        name: [] for name, statistic in statistics.items() if len(np.unique(groups[statistic.clusters])) > 1
    }
    for drawn in _draw_cluster_counts(int(groups.max()) + 1, seed, draws):
        counts = drawn if merged is None else drawn[:, groups]
        for name, values in parts.items():
            values.append(statistics[name].compute(counts))
    intervals = {name: _compute_interval(statistics[name], np.concatenate(values)) for name, values in parts.items()}
    return {name: intervals.get(name) for name in statistics}


def _draw_cluster_counts(clusters: int, seed: int, draws: int) -> Iterator[FloatArray]:
    """How often each cluster is drawn, in parts of (draws, clusters)."""
    generator = np.random.default_rng(seed)
    rows = max(1, BATCH_NUMBERS // clusters)
    for begin in range(0, draws, rows):
        height = min(rows, draws - begin)
        drawn = generator.integers(0, clusters, (height, clusters)) + clusters * np.arange(height)[:, None]
        yield np.bincount(drawn.ravel(), minlength=height * clusters).reshape(height, clusters).astype(np.float64)


def _compute_interval(statistic: Statistic, values: FloatArray) -> Interval | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    if statistic.correct_bias:
        bias = known.mean() - statistic.value
        low, high = max(low - bias, 0.0), max(high - bias, 0.0)
    return float(low), float(high)
