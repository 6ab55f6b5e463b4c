"""95 % confidence intervals of proportions (Wilson) and means (bootstrap).

Both are ours: statsmodels' `proportion_confint` gives the same bounds up to rounding, but it and scipy add 290 MB to an
installation and seconds of imports, and scipy's `bootstrap` resamples no clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

Interval = tuple[float, float]

Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""
RESAMPLES = 10_000
BATCH_NUMBERS = 2_000_000
"""Maximum number of resampled values in memory at a time (16 MB)."""


def compute_wilson_interval(successes: float, n: int) -> Interval | None:
    """Return the score interval of a proportion (Wilson 1927, JASA 22:209), within [0, 1]; None for n = 0.

    `successes` may be a sum of n numbers in [0, 1]; the interval is then conservative, since zeros and ones have the
    largest variance.
    """
    if n == 0:
        return None
    share, square = successes / n, Z_95 * Z_95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z_95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # the exact bound is 0 or 1 here, which rounding would miss
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int,
    draws: int = RESAMPLES,
    tail: Callable[[int], float] = lambda count: 0.025,
) -> Interval | None:
    """Return the percentile bootstrap interval of the mean (Efron 1979, Ann. Statist. 7:1).

    With `clusters`, one label per value, whole clusters are resampled, since the values of a cluster are correlated.
    `tail` gives the share of resamples on each side of the interval for a number of values or clusters. None for fewer
    than two values or clusters.
    """
    import numpy as np  # here: its import takes 0.1 s, which error messages should not wait for

    labels = list(range(len(values)) if clusters is None else clusters)
    cluster_numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(cluster_numbers) < 2:
        return None
    index = [cluster_numbers[label] for label in labels]
    sums, sizes = np.bincount(index, weights=np.asarray(values, dtype=float)), np.bincount(index)
    generator, count = np.random.default_rng(seed), len(cluster_numbers)
    means = np.empty(draws)
    for begin in range(0, draws, rows := max(1, BATCH_NUMBERS // count)):
        part = means[begin : begin + rows]
        drawn = generator.integers(0, count, (len(part), count))
        part[:] = sums[drawn].sum(axis=1) / (count if clusters is None else sizes[drawn].sum(axis=1))
    low, high = np.quantile(means, (tail(count), 1 - tail(count)))
    return float(low), float(high)


def bootstrap_ratio(
    numerators: Sequence[float], denominators: Sequence[float], *, seed: int, draws: int = RESAMPLES
) -> Interval | None:
    """Return the percentile bootstrap interval of a ratio of two sums over the same tasks, which are resampled.

    Draws whose denominator is 0 are left out. None for fewer than two tasks, and if a tenth of the draws is left out:
    the upper bound is then not known.
    """
    import numpy as np

    if (count := len(numerators)) < 2:
        return None
    above, below = np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float)
    generator = np.random.default_rng(seed)
    parts = []
    for begin in range(0, draws, rows := max(1, BATCH_NUMBERS // count)):
        drawn = generator.integers(0, count, (min(rows, draws - begin), count))
        divisors = below[drawn].sum(axis=1)
        parts.append(above[drawn].sum(axis=1)[divisors > 0] / divisors[divisors > 0])
    ratios = np.concatenate(parts)
    if len(ratios) < 0.9 * draws:
        return None
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)
