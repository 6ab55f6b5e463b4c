"""Means and paired differences, worked by hand."""

import pytest

from codetool.evaluation.intervals import bootstrap_mean
from codetool.evaluation.paired_comparison import average_runs, compute_differences, estimate_mean

FULL = [{"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": 0.0}]
PLAIN = [{"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": 1.0, "c": 1.0}]
TEMPLATES = {"a": "x", "b": "x", "c": "y"}


def test_seeds_are_averaged_within_a_task() -> None:
    assert average_runs(FULL) == {"a": 1.0, "b": 0.5, "c": 0.0}


def test_a_difference_is_taken_seed_by_seed_where_both_ran() -> None:
    # a: (1 - 0 and 1 - 1), b: (1 - 1 and 0 - 1); c was run twice by the second alone, so its one pair counts
    assert compute_differences(zip(FULL, PLAIN, strict=True)) == {"a": 0.5, "b": -0.5, "c": 0.0}


def test_a_task_counts_once_however_often_it_was_run() -> None:
    runs = [{"a": 1.0}, {"a": 1.0}, {"a": 1.0, "b": 0.0}]
    made = estimate_mean(average_runs(runs), {})
    assert made and made.value == 0.5 and made.tasks == 2


def test_an_estimate_counts_tasks_and_templates() -> None:
    made = estimate_mean({"a": 1.0, "b": 0.5, "c": 0.0}, TEMPLATES)
    assert made and (made.value, made.tasks, made.templates) == (0.5, 3, 2)


def test_draws_of_two_templates_have_three_outcomes() -> None:
    # xx with mean 1, xy with (1 + 1 + 0) / 3, yy with 0: a quarter each of the outer two, so they are the interval
    made = estimate_mean({"a": 1.0, "b": 1.0, "c": 0.0}, TEMPLATES)
    assert made and made.template_interval == (0.0, 1.0)


def test_a_difference_that_is_the_same_for_every_task_has_no_spread() -> None:
    easy, hard = {f"t{i}": float(i % 2) for i in range(20)}, {f"t{i}": i % 2 - 0.25 for i in range(20)}
    made = estimate_mean(compute_differences([(easy, hard)]), {})
    assert made and (made.value, made.interval) == (0.25, (0.25, 0.25))
    alone = estimate_mean(easy, {})
    assert alone and alone.interval and alone.interval[1] - alone.interval[0] > 0.3


def test_the_intervals_are_those_of_the_bootstrap() -> None:
    values = {f"t{i}": float(i % 3) for i in range(12)}
    templates = {f"t{i}": f"x{i % 3}" for i in range(12)}
    made = estimate_mean(values, templates, seed=3, draws=500)
    assert made and made.interval == bootstrap_mean(list(values.values()), seed=3, draws=500)
    clusters = list(templates.values())
    assert made.template_interval == bootstrap_mean(list(values.values()), clusters, seed=3, draws=500)


def test_a_task_without_a_template_is_one_of_its_own() -> None:
    made = estimate_mean({"a": 1.0, "b": 0.0}, {"a": None})
    assert made and made.templates == 2 and made.template_interval == made.interval


@pytest.mark.parametrize("values", [{}, {"a": 1.0}])
def test_one_task_says_nothing_about_spread(values: dict[str, float]) -> None:
    made = estimate_mean(values, {})
    assert (made is None) if not values else (made is not None and made.interval is None)
