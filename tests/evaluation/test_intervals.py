"""Intervals, against values from elsewhere and against chance."""

import numpy as np
import pytest

from codetool.evaluation.intervals import bootstrap_mean, compute_wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(successes, n, low, high):
    assert compute_wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_wilson_stays_in_the_unit_interval_and_holds_the_share(n):
    for successes in range(n + 1):
        low, high = compute_wilson_interval(successes, n)
        assert 0 <= low <= successes / n <= high <= 1


def test_nothing_has_no_interval():
    assert compute_wilson_interval(0, 0) is None
    assert bootstrap_mean([], seed=0) is None
    assert bootstrap_mean([3.0], seed=0) is None
    assert bootstrap_mean([3.0, 4.0], ["a", "a"], seed=0) is None


def test_the_bootstrap_is_near_the_normal_interval_of_a_large_sample():
    values = np.random.default_rng(1).normal(5, 2, 400)
    half = 1.96 * values.std() / 20
    assert bootstrap_mean(values.tolist(), seed=0) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.02
    )


def test_the_bootstrap_is_the_same_for_the_same_seed_only():
    values = [0.0, 1.0, 4.0, 9.0, 16.0, 25.5, 36.25]
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1, draws=100) != bootstrap_mean(values, seed=2, draws=100)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_mean([2.0] * 5, seed=0) == (2.0, 2.0)
    assert bootstrap_mean([2.0] * 5, ["a", "b", "b", "b", "c"], seed=0) == (2.0, 2.0)


def test_clusters_of_alike_values_widen_the_interval():
    values, clusters = [0.0] * 50 + [1.0] * 50, [place // 10 for place in range(100)]
    low, high = bootstrap_mean(values, seed=0)
    wide_low, wide_high = bootstrap_mean(values, clusters, seed=0)
    assert wide_high - wide_low > 2 * (high - low)


def test_clusters_of_one_are_no_clusters():
    values = [1.0, 5.0, 2.0, 8.0]
    assert bootstrap_mean(values, list("abcd"), seed=0) == bootstrap_mean(values, seed=0)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [bootstrap_mean(generator.normal(0, 1, 50).tolist(), seed=0, draws=500) for _ in range(300)]
    assert 0.90 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.98
