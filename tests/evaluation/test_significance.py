"""Tests, corrections, intervals and power of paired comparisons, against statsmodels and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student
from statsmodels.api import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from codetool.evaluation.intervals import bootstrap_mean
from codetool.evaluation.paired_comparison import PairedDifference, compare_systems, correct_p_values
from codetool.evaluation.significance import (
    compute_clustered_error,
    compute_detectable_difference,
    compute_mcnemar_p,
    compute_t_quantile,
    compute_widened_tail,
    correct_holm,
)

TASKS, TEMPLATES, PAIRS, DRAWS = 96, 24, 2000, 1000


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 6), (5, 5), (12, 3), (40, 61), (900, 1000)])
def test_mcnemar_is_that_of_statsmodels(wins: int, losses: int) -> None:
    expected = mcnemar([[0, wins], [losses, 0]], exact=True).pvalue if wins + losses else 1.0
    assert compute_mcnemar_p(wins, losses) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p_values", [[], [0.04], [0.01, 0.04, 0.03], [0.5, 0.001, 0.02, 0.02, 0.9], [1.0, 1.0]])
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert correct_holm(p_values) == pytest.approx(list(expected))


@pytest.mark.parametrize("freedom", [1, 2, 5, 11, 60, 2000])
def test_students_quantile_is_that_of_scipy(freedom: int) -> None:
    assert compute_t_quantile(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=1e-6)


def test_the_standard_error_over_templates_is_that_of_statsmodels() -> None:
    values, templates = np.random.default_rng(0).normal(size=60), np.arange(60) % 7
    fit = OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": templates})
    assert compute_clustered_error(list(values), list(templates)) == pytest.approx(float(fit.bse[0]))
    assert compute_clustered_error(list(values)) == pytest.approx(float(values.std(ddof=1) / np.sqrt(60)))
    assert compute_clustered_error([1.0]) is None and compute_clustered_error([1.0, 2.0], ["a", "a"]) is None


def test_a_difference_has_everything_worked_by_hand() -> None:
    first = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0, "alone": 1.0}
    second = {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0}
    made = compare_systems(first, second, {"a": "x", "b": "x", "c": "y", "d": "y"})
    assert made is not None and (made.first, made.second, made.estimate.value) == (0.75, 0.5, 0.25)
    assert (made.wins, made.losses, made.p, made.estimate.tasks, made.estimate.templates) == (2, 1, 1.0, 4, 2)
    # (1.96 + 0.8416) * sd / sqrt(n), with the differences 1, 1, 0, -1
    assert made.detectable == pytest.approx(2.8016 * np.std([1, 1, 0, -1], ddof=1) / 2, rel=1e-4)
    assert compare_systems(first, {"other": 1.0}, {}) is None
    equal = compare_systems(second, second, {})
    assert equal is not None and equal.detectable is None and equal.p == 1.0


def test_p_values_are_corrected_over_the_comparisons_and_amounts_have_none() -> None:
    values = {f"t{number}": float(number % 2) for number in range(40)}
    rates = [compare_systems({task: 1.0 for task in values}, values, {}), compare_systems(values, values, {})]
    amount = compare_systems(values, values, {}, tests=False)
    made = correct_p_values([each for each in (*rates, amount) if each is not None])
    assert [each.p_holm for each in made] == [pytest.approx(2 * (made[0].p or 0)), 1.0, None]
    assert isinstance(made[0], PairedDifference) and made[0].p == pytest.approx(2 / 2**20)


def simulate_differences(seed: int) -> tuple[np.ndarray, float]:
    """Differences of simulated pairs of runs, of shape (pairs, tasks), and the true difference.

    Tasks and templates have a difficulty that both runs share, and one run is better by the same amount of log odds on
    every task. Both runs draw each answer anew.
    """
    generator = np.random.default_rng(seed)

    def draw(pairs: int) -> tuple[np.ndarray, np.ndarray]:
        of_templates = np.repeat(generator.normal(0, 1.0, (pairs, TEMPLATES)), TASKS // TEMPLATES, axis=1)
        difficulty = of_templates + generator.normal(0, 1.0, (pairs, TASKS))
        return 1 / (1 + np.exp(-difficulty - 0.8)), 1 / (1 + np.exp(-difficulty))

    better, worse = draw(20_000)
    truth = float((better - worse).mean())
    p, q = draw(PAIRS)
    return (generator.random(p.shape) < p) * 1.0 - (generator.random(q.shape) < q), truth


@pytest.mark.slow
def test_the_intervals_cover_the_true_difference_of_2000_pairs_of_runs() -> None:
    differences, truth = simulate_differences(seed=7)
    templates = [f"t{number}" for number in np.repeat(np.arange(TEMPLATES), TASKS // TEMPLATES)]
    for clusters in (None, templates):
        intervals = [
            bootstrap_mean(list(row), clusters, seed=number, draws=DRAWS, tail=compute_widened_tail)
            for number, row in enumerate(differences)
        ]
        covered = sum(low <= truth <= high for low, high in filter(None, intervals)) / PAIRS
        assert 0.935 <= covered <= 0.965, (clusters is not None, covered)


def test_a_difference_of_the_detectable_size_is_shown_in_four_of_five_pairs() -> None:
    differences, truth = simulate_differences(seed=8)
    errors = differences.std(axis=1, ddof=1) / np.sqrt(TASKS)
    detectable = np.mean([compute_detectable_difference(list(row)) for row in differences[:200]])
    moved = differences.mean(axis=1) + (detectable - truth)  # as if the true difference were the detectable one
    shown = float((moved > 1.96 * errors).mean())
    assert 0.77 <= shown <= 0.83, shown
