"""Cluster bootstrap: confidence intervals of statistics of clustered items, with whole clusters resampled.

A statistic is computed from the contribution of each cluster, so that the cost of a resample depends on the number of
clusters and not of items. Thousands of resamples of tens of thousands of items take seconds.
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
"""Maximum number of values processed at a time, so that they stay in the processor's cache (2 MB)."""


@dataclass(frozen=True)
class Statistic:
    """A statistic that can be recomputed for a resample of the clusters."""

    compute: Callable[[FloatArray], FloatArray]
    """Maps cluster weights of shape (resamples, clusters) to values of shape (resamples,); NaN if undefined."""
    clusters: IndexArray
    """Cluster index of each item."""
    cluster_count: int
    """Number of all clusters, including those without an item."""
    correct_bias: bool = False
    """Whether resampled values are shifted by their bias. It is needed for a non-negative statistic that noise makes
    larger, such as a calibration error, since resampling adds noise."""

    @property
    def value(self) -> float:
        """Value of the statistic; NaN if undefined."""
        return float(self.compute(np.ones((1, self.cluster_count)))[0])

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self.clusters)


def build_mean(values: FloatArray, weights: FloatArray, clusters: IndexArray, cluster_count: int) -> Statistic:
    """Return the weighted mean of clustered values as a statistic."""

    def compute(sums: FloatArray) -> FloatArray:
        return divide_or_nan(sums[..., 0], sums[..., 1])

    return build_from_sums([values * weights, weights], clusters, cluster_count, compute)


def build_from_sums(
    columns: Sequence[FloatArray],
    clusters: IndexArray,
    cluster_count: int,
    compute: Callable[[FloatArray], FloatArray],
    *,
    correct_bias: bool = False,
) -> Statistic:
    """Return a statistic that `compute` derives from the columns' sums, of shape (resamples, columns)."""
    table = np.stack([np.bincount(clusters, weights=column, minlength=cluster_count) for column in columns], axis=1)
    return Statistic(lambda counts: compute(counts @ table), clusters, cluster_count, correct_bias)


def build_auc(
    scores: FloatArray, positive: npt.NDArray[np.bool_], weights: FloatArray, clusters: IndexArray, cluster_count: int
) -> Statistic:
    """Return the area under the ROC curve as a statistic.

    It is the weighted share of pairs in which the positive has the higher score; equal scores count half.
    """
    order = np.argsort(scores, kind="stable")
    up, down = order[positive[order]], order[~positive[order]]
    lower, upper = (np.searchsorted(scores[down], scores[up], side) for side in ("left", "right"))

    def compute_batch(counts: FloatArray) -> FloatArray:
        below = np.zeros((len(counts), len(down) + 1))
        np.cumsum(counts[:, clusters[down]] * weights[down], axis=1, out=below[:, 1:])
        mass = counts[:, clusters[up]] * weights[up]
        won = (mass * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
        return divide_or_nan(won, mass.sum(axis=1) * below[:, -1])

    def compute(counts: FloatArray) -> FloatArray:
        rows = max(1, CACHE_NUMBERS // max(1, len(scores)))
        return np.concatenate([compute_batch(counts[begin : begin + rows]) for begin in range(0, len(counts), rows)])

    return Statistic(compute, clusters, cluster_count)


def divide_or_nan(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, NaN where the denominator is 0."""
    ratio: FloatArray = np.divide(
        numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=denominator != 0
    )
    return ratio


def bootstrap_statistics(
    statistics: Mapping[K, Statistic], *, seed: int, draws: int = RESAMPLES, merged: IndexArray | None = None
) -> dict[K, Interval | None]:
    """Return the 95 % percentile interval of each statistic; all statistics must have the same clusters.

    `merged` gives for each cluster the index of a larger cluster, such as a task's template; these are then resampled.
    An interval is None if items are in fewer than two clusters. Resamples in which a statistic is undefined are left
    out.
    """
    cluster_count = {statistic.cluster_count for statistic in statistics.values()}
    if not cluster_count:
        return {}
    [size] = cluster_count
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
    """Yield how often each cluster is drawn, in batches of shape (resamples, clusters)."""
    generator = np.random.default_rng(seed)
    rows = max(1, BATCH_NUMBERS // clusters)
    for begin in range(0, draws, rows):
        height = min(rows, draws - begin)
        drawn = generator.integers(0, clusters, (height, clusters)) + clusters * np.arange(height)[:, None]
        yield np.bincount(drawn.ravel(), minlength=height * clusters).reshape(height, clusters).astype(np.float64)


def _compute_interval(statistic: Statistic, values: FloatArray) -> Interval | None:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    if statistic.correct_bias:
        bias = defined.mean() - statistic.value
        low, high = max(low - bias, 0.0), max(high - bias, 0.0)
    return float(low), float(high)
