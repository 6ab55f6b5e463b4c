"""Significance and power of paired comparisons: exact McNemar test, Holm's correction, smallest detectable difference.

They are ours: scipy and statsmodels have them, but add 290 MB to an installation and seconds of imports for what takes
a few lines each. Tests compare them with statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist

from codetool.evaluation.intervals import Z_95

Z_POWER_80 = 0.8416212335729143
"""The 80 % point of the standard normal distribution."""
MAX_T_FREEDOM = 2000
"""Above it Student's t distribution is the normal one up to 0.1 %."""


def compute_mcnemar_p(wins: int, losses: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947, Psychometrika 12:153).

    `wins` and `losses` count the tasks on which the first and the second run is better; under the null hypothesis each
    is as likely. Where a task has a mean over several runs, this is the exact sign test over tasks.
    """
    discordant = wins + losses
    tail = sum(math.comb(discordant, count) for count in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / 2**discordant))


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for several comparisons, in their order (Holm 1979, Scand. J. Statist. 6:65)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def compute_detectable_difference(
    differences: Sequence[float], clusters: Sequence[Hashable] | None = None
) -> float | None:
    """Return the smallest true difference that a comparison shows with a power of 80 %, two-sided at 5 %.

    It is (z_0.975 + z_0.8) times the standard error of the mean difference over tasks, or over clusters of tasks. None
    for fewer than two tasks or clusters, and if no task differs, since the spread is unknown then.
    """
    error = compute_clustered_error(differences, clusters)
    return None if error is None or not any(differences) else (Z_95 + Z_POWER_80) * error


def compute_clustered_error(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float | None:
    """Return the standard error of the mean of values that are correlated within clusters; None for fewer than two.

    Without clusters each value is one, and it is the common standard error of a mean.
    """
    labels = list(range(len(values))) if clusters is None else list(clusters)
    if len(set(labels)) < 2:
        return None
    mean = sum(values) / len(values)
    residuals: dict[Hashable, float] = {}
    for label, value in zip(labels, values, strict=True):
        residuals[label] = residuals.get(label, 0.0) + value - mean
    count = len(residuals)
    return math.sqrt(sum(residual**2 for residual in residuals.values()) * count / (count - 1)) / len(values)


@lru_cache
def compute_widened_tail(count: int) -> float:
    """Return the tail probability at which a bootstrap of `count` items has the width of Student's interval.

    Percentiles of a bootstrap are too narrow for few items: by the factor sqrt((n - 1) / n), and because they take the
    normal distribution for Student's (Hesterberg 2015, The American Statistician 69:371, section 5.1).
    """
    factor = math.sqrt(count / (count - 1)) * compute_t_quantile(count - 1)
    return NormalDist().cdf(-factor)


def compute_t_quantile(freedom: int) -> float:
    """Return the 97.5 % point of Student's t distribution with this many degrees of freedom.

    With t = sqrt(freedom) tan(angle) the density of the angle is proportional to cos(angle) ** (freedom - 1), which is
    summed up over a grid.
    """
    import numpy as np

    if freedom > MAX_T_FREEDOM:
        return Z_95
    angles = np.linspace(0.0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(freedom) * math.tan(float(np.interp(0.95, below / below[-1], angles)))
