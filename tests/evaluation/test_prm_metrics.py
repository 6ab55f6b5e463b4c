"""Metrics of a PRM against cases worked out by hand, against brute force, and their intervals."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import numpy as np
import pytest

from codetool.evaluation.prm_metrics import BINS, compute_headline_metrics, measure_prm
from codetool.model_types import ProcessExample


def step(
    node: str,
    soft: float,
    *,
    task: str = "t",
    label: bool | None = None,
    executed: bool = True,
    multiplicity: int = 1,
) -> ProcessExample:
    group = node.rpartition("-")[0] or "0"
    return ProcessExample(task, node, group, (), "", executed, soft, soft > 0, soft, label, multiplicity)


def values(*judged: tuple[ProcessExample, float], threshold: float = 0.5) -> dict[str, float]:
    return compute_headline_metrics(
        [example for example, _ in judged], [score for _, score in judged], threshold=threshold
    )


def many(tasks: int, seed: int = 0) -> tuple[list[ProcessExample], list[float]]:
    """Full binary trees of depth 3 and scores that know something of them."""
    rng = random.Random(seed)
    examples: list[ProcessExample] = []

    def grow(task: str, node: str, depth: int) -> float:
        below = [grow(task, f"{node}-{k}", depth + 1) for k in (1, 2)] if depth < 3 else []
        soft = sum(below) / 2 if below else float(rng.random() < 0.4)
        label = rng.choice([True, False, None])
        examples.append(step(node, soft, task=task, label=label, multiplicity=rng.choice([1, 1, 3])))
        return soft

    for task in range(tasks):
        for k in "12":
            grow(str(task), k, 1)
    order = rng.sample(range(len(examples)), len(examples))  # nothing may depend on it
    examples = [examples[place] for place in order]
    return examples, [round(min(1.0, 0.5 * example.soft + 0.5 * rng.random()), 2) for example in examples]


def weights(examples: Sequence[ProcessExample]) -> list[int]:
    return [example.multiplicity for example in examples]


def test_accuracy_is_of_labelled_steps_as_often_as_they_were_sampled() -> None:
    found = values(
        (step("1", 1, label=True, multiplicity=3), 0.5),
        (step("2", 0, label=False), 0.7),
        (step("3", 0), 0.1),
    )
    assert found["accuracy"] == 0.75


def test_the_threshold_is_the_lowest_good_score() -> None:
    judged = (step("1", 1, label=True), 0.5), (step("2", 0, label=False), 0.4)
    assert values(*judged)["accuracy"] == 1
    assert values(*judged, threshold=0.6)["accuracy"] == 0.5


def pair_by_pair(examples: Sequence[ProcessExample], scores: Sequence[float]) -> float:
    """The area under the ROC curve, as what it means: a positive has a higher score than a negative."""
    rows = [(e.label, score, e.multiplicity) for e, score in zip(examples, scores, strict=True) if e.label is not None]
    label, score, weight = map(np.array, zip(*rows, strict=True))
    won = (np.sign(score[label][:, None] - score[~label]) + 1) / 2
    return float(np.average(won, weights=weight[label][:, None] * weight[~label]))


def test_auroc_is_how_often_a_positive_has_the_higher_score() -> None:
    examples, scores = many(40)
    assert len(set(scores)) < len(scores)  # some are equal
    assert compute_headline_metrics(examples, scores)["auroc"] == pytest.approx(
        pair_by_pair(examples, scores), abs=1e-12
    )


def test_of_siblings_the_one_that_ran_is_better_then_the_one_with_the_higher_estimate() -> None:
    found = values(
        (step("1", 0.2), 0.6),  # ran: better than 2, though of lower estimate, and worse than 3
        (step("2", 0.9, executed=False), 0.5),
        (step("3", 0.4), 0.6),
        (step("3-1", 0.5), 0.1),  # no different: no pair
        (step("3-2", 0.5), 0.9),
    )
    assert found["pairwise_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)


def test_a_pair_may_count_as_often_as_it_was_sampled() -> None:
    examples = [step("1", 1, multiplicity=2), step("2", 0, multiplicity=3), step("3", 0.5)]
    scores = [0.9, 0.1, 0.95]
    assert measure_prm(examples, scores, draws=10).metrics["pairwise_accuracy"].value == pytest.approx(2 / 3)
    weighed = measure_prm(examples, scores, weigh_pairs=True, draws=10).metrics["pairwise_accuracy"]
    assert weighed.value == pytest.approx((6 + 3) / (6 + 3 + 2))


def test_siblings_are_those_of_one_task() -> None:
    assert "pairwise_accuracy" not in values((step("1", 1, task="a"), 0.1), (step("1", 0, task="b"), 0.9))


def test_pairwise_accuracy_comes_by_depth() -> None:
    examples = [step("1", 0.5), step("2", 0), step("1-1", 1), step("1-2", 0), step("1-10", 0)]
    found = measure_prm(examples, [0.9, 0.1, 0.1, 0.9, 0.05], draws=10).by_depth
    assert {depth: (metric.value, metric.n) for depth, metric in found.items()} == {1: (1.0, 1), 2: (0.5, 2)}


def test_first_errors_are_found_on_lost_paths_and_on_no_other() -> None:
    """Paths: 1-1 succeeds; 1-2 is lost at its second step; 2-1 and 2-2 at their first."""
    examples = [step(node, soft) for node, soft in {"1": 0.5, "1-1": 1, "1-2": 0, "2": 0, "2-1": 0, "2-2": 0}.items()]
    perfect = compute_headline_metrics(examples, [0.9, 0.8, 0.2, 0.3, 0.9, 0.1])
    assert perfect["first_error_f1"] == 1
    late = compute_headline_metrics(examples, [0.9, 0.8, 0.2, 0.5, 0.4, 0.9])  # 2-1 a step late, 2-2 not at all
    assert late["first_error_erroneous"] == pytest.approx(1 / 3)
    assert late["first_error_correct"] == 1
    assert late["first_error_f1"] == pytest.approx(2 * (1 / 3) / (1 / 3 + 1))
    early = compute_headline_metrics(examples, [0.1, 0.8, 0.2, 0.1, 0.4, 0.9])
    assert (early["first_error_erroneous"], early["first_error_correct"]) == (pytest.approx(2 / 3), 0)
    assert early["first_error_f1"] == 0


def test_first_error_f1_wants_lost_and_successful_paths() -> None:
    assert "first_error_f1" not in values((step("1", 0), 0.1), (step("2", 0), 0.1))
    assert values((step("1", 0), 0.1), (step("2", 0), 0.1))["first_error_erroneous"] == 1


def test_paths_of_which_steps_are_missing_do_not_count() -> None:
    found = measure_prm([step("1", 0.5), step("2-1", 1), step("3", 0), step("4", 1)], [0.9] * 4, draws=10).metrics
    assert found["first_error_f1"].n == 2


def test_selection_regret_is_what_the_highest_score_loses() -> None:
    found = values(
        (step("1", 1.0), 0.2),
        (step("2", 0.4), 0.9),
        (step("3", 0.0), 0.9),  # as high: either may be chosen
        (step("1-1", 1.0), 0.9),
        (step("1-2", 0.0), 0.1),
        (step("2-1", 0.4), 0.1),  # alone: nothing to choose
    )
    assert found["selection_regret"] == pytest.approx(((1 - 0.2) + 0) / 2)
    assert found["selection_regret_random"] == pytest.approx(((1 - 1.4 / 3) + 0.5) / 2)


def test_calibration_error_is_that_of_a_loop_over_the_bins() -> None:
    examples, scores = many(30)
    weight, soft = np.array(weights(examples)), np.array([example.soft for example in examples])
    place = np.minimum(np.floor(np.array(scores) * BINS), BINS - 1)
    expected = 0.0
    for number in range(BINS):
        inside = place == number
        if inside.any():
            gap = np.average(scores, weights=weight * inside) - np.average(soft, weights=weight * inside)
            expected += abs(gap) * weight[inside].sum() / weight.sum()
    assert compute_headline_metrics(examples, scores)["ece"] == pytest.approx(expected, abs=1e-12)


def test_the_bins_tell_score_estimate_and_share() -> None:
    examples = [step("1", 1.0, multiplicity=3), step("2", 0.0), step("3", 0.5)]
    first, last = measure_prm(examples, [0.01, 0.05, 1.0], draws=10).bins
    assert (first.low, first.share, first.soft.value, first.soft.n) == (0, 0.8, 0.75, 2)
    assert first.score == pytest.approx(0.02)
    assert (last.high, last.score, last.soft.value, last.share) == (1, 1, 0.5, 0.2)


def test_brier_and_log_loss_compare_with_the_estimate() -> None:
    found = values((step("1", 0.5), 0.5), (step("2", 1.0), 0.25))
    assert found["brier"] == pytest.approx(0.75**2 / 2)
    assert found["log_loss"] == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert values((step("1", 0.0), 1.0))["log_loss"] == pytest.approx(np.log(1e7), rel=1e-6)


def test_the_headline_is_what_is_measured() -> None:
    examples, scores = many(10)
    found = measure_prm(examples, scores, draws=10).metrics
    assert compute_headline_metrics(examples, scores) == {name: metric.value for name, metric in found.items()}
    assert len(found) == 12


def test_intervals_draw_whole_tasks() -> None:
    """Two tasks, one all right, one all wrong: an interval of steps would be narrow, one of tasks is not."""
    examples = [step(f"{k}", 1, task=task, label=True) for task in "ab" for k in range(1, 200)]
    scores = [0.9 if example.task_id == "a" else 0.1 for example in examples]
    accuracy = measure_prm(examples, scores, draws=2000).metrics["accuracy"]
    assert (accuracy.low, accuracy.high, accuracy.n) == (0, 1, 398)


def test_the_interval_is_that_of_drawing_the_tasks_examples_again() -> None:
    examples, scores = many(25)
    by_task = {str(task): [place for place, e in enumerate(examples) if e.task_id == str(task)] for task in range(25)}
    generator, drawn = np.random.default_rng(1), []
    for _ in range(400):
        places = [place for task in generator.integers(0, 25, 25) for place in by_task[str(task)]]
        drawn.append(pair_by_pair([examples[place] for place in places], [scores[place] for place in places]))
    found = measure_prm(examples, scores).metrics["auroc"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.015)


def test_of_one_task_there_is_no_interval() -> None:
    accuracy = measure_prm([step("1", 1, label=True), step("2", 0, label=False)], [0.9, 0.1]).metrics["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (1, None, None)


def test_the_interval_of_the_calibration_error_holds_its_value() -> None:
    rng = random.Random(0)
    scores = [rng.random() for _ in range(300)]  # calibrated: all of the error is noise, and a draw has more of it
    examples = [step("1", float(rng.random() < score), task=str(place)) for place, score in enumerate(scores)]
    found = measure_prm(examples, scores, draws=2000).metrics["ece"]
    assert found.low is not None and found.high is not None and found.low < found.value < found.high


def test_templates_give_a_second_interval() -> None:
    examples, scores = many(20)
    halves = {str(task): str(task % 2) for task in range(20)}
    found = measure_prm(examples, scores, templates=halves, draws=500).metrics["brier"]
    assert found.template_low is not None and found.low is not None and found.template_low != found.low
    assert measure_prm(examples, scores, templates={"0": None}, draws=10).metrics["brier"].template_low is None


def test_equal_seeds_give_equal_intervals() -> None:
    examples, scores = many(10)
    assert measure_prm(examples, scores, seed=1, draws=100) == measure_prm(examples, scores, seed=1, draws=100)
    assert measure_prm(examples, scores, seed=1, draws=100) != measure_prm(examples, scores, seed=2, draws=100)


def test_twenty_thousand_steps_take_seconds() -> None:
    examples, scores = many(1430)
    started = time.process_time()
    measure_prm(examples, scores)
    assert len(examples) > 20_000 and time.process_time() - started < 30


@pytest.mark.parametrize("scores", [[0.5], [0.5, 1.01], [0.5, float("nan")]])
def test_scores_that_do_not_fit_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="one score"):
        compute_headline_metrics([step("1", 0), step("2", 0)], scores)


def test_nothing_has_no_metrics() -> None:
    assert compute_headline_metrics([], []) == {}
