"""Selection by budget against a count of all draws, and the reference judges against what they must reach."""

from __future__ import annotations

from itertools import combinations

import pytest
from test_prm_metrics import many, step

from codetool.evaluation.prm_references import compute_reference_metrics
from codetool.evaluation.prm_selection import compute_choice, measure_selection


def choose_by_counting(scores: list[float], values: list[float], counts: list[int], n: int) -> float:
    """The mean over all sets of n candidates of the mean value of those with the highest score."""
    pool = [(score, value) for score, value, count in zip(scores, values, counts, strict=True) for _ in range(count)]
    outcomes = []
    for drawn in combinations(pool, n):
        best = [value for score, value in drawn if score == max(score for score, _ in drawn)]
        outcomes.append(sum(best) / len(best))
    return sum(outcomes) / len(outcomes)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("scores", [[0.2, 0.9, 0.6, 0.4], [0.5, 0.5, 0.5, 0.5]])
def test_the_expected_choice_is_that_of_all_draws(n: int, scores: list[float]) -> None:
    values, counts = [1.0, 0.0, 0.5, 0.25], [3, 1, 1, 3]
    counted = choose_by_counting(scores, values, counts, n)
    assert compute_choice(scores, values, counts, n) == pytest.approx(counted, abs=1e-12)
    assert compute_choice(values, values, counts, 8) == 1.0


def test_siblings_are_chosen_from_and_so_are_paths() -> None:
    """Two siblings of estimates 1 and 0 below the first step, and a second first step that is lost."""
    soft = {"1": 0.5, "1-1": 1, "1-2": 0, "2": 0}
    examples = [step(node, value) for node, value in soft.items()]
    right = {(each.level, each.n): each for each in measure_selection(examples, [0.8, 0.9, 0.1, 0.2], draws=50)}
    assert set(right) == {("steps", 2), ("paths", 2)}
    siblings, paths = right["steps", 2].metrics, right["paths", 2].metrics
    assert (siblings["prm"].value, siblings["random"].value, siblings["oracle"].value) == (0.75, 0.375, 0.75)
    assert siblings["gain"].value == 0.375 and siblings["recovered"].value == 1
    assert paths["random"].value == pytest.approx(1 / 3) and paths["prm"].value == pytest.approx(2 / 3)
    wrong = {(each.level, each.n): each for each in measure_selection(examples, [0.1, 0.1, 0.9, 0.9], draws=50)}
    assert wrong["steps", 2].metrics["prm"].value == 0 and wrong["steps", 2].metrics["recovered"].value < 0


def test_budgets_double_up_to_the_largest_pool() -> None:
    examples = [step(str(k), float(k == 1), multiplicity=3) for k in (1, 2, 3)]
    found = measure_selection([*examples, step("1", 1.0, task="alone")], [0.5] * 4, draws=50)
    assert [(each.level, each.n, each.pools) for each in found] == [
        (level, n, 1) for level in ("steps", "paths") for n in (2, 4, 8)
    ]
    assert all(each.metrics["gain"].value == pytest.approx(0) for each in found)


def test_paths_of_one_question_compete_by_the_success_of_their_tasks() -> None:
    examples = [step("1", 0.0, task="a"), step("1", 0.0, task="b")]
    questions, outcomes = {"a": "q", "b": "q"}, {"a": 0.0, "b": 1.0}
    [found] = measure_selection(examples, [0.2, 0.6], questions=questions, outcomes=outcomes, draws=50)
    assert (found.level, found.n, found.pools) == ("paths", 2, 1)
    assert (found.metrics["prm"].value, found.metrics["random"].value, found.metrics["oracle"].value) == (1, 0.5, 1)


def test_an_interval_is_of_the_difference() -> None:
    examples, scores = many(60)
    found = measure_selection(examples, scores, draws=400)
    for each in found:
        gain = each.metrics["gain"]
        assert gain.value == pytest.approx(each.metrics["prm"].value - each.metrics["random"].value)
        assert gain.low is not None and gain.high is not None and gain.low < gain.value < gain.high


def test_the_reference_judges_reach_what_they_must() -> None:
    examples, _ = many(60)
    found = compute_reference_metrics(examples, threshold=0.5, seed=0)
    constant, chance, oracle = found["constant"], found["random"], found["oracle"]
    positive = [example for example in examples if example.label]
    labelled = [example for example in examples if example.label is not None]
    weight = sum(example.multiplicity for example in positive) / sum(example.multiplicity for example in labelled)
    assert constant["accuracy"] == pytest.approx(weight) and constant["first_error_f1"] == 0
    assert constant["first_error_correct"] == 1 and constant["auroc"] == 0.5
    assert constant["selection_regret"] == pytest.approx(chance["selection_regret_random"])
    assert abs(chance["auroc"] - 0.5) < 0.1 and chance["first_error_f1"] < 0.5
    perfect = ("accuracy", "auroc", "pairwise_accuracy", "first_error_f1", "first_error_accuracy")
    assert [oracle[name] for name in perfect] == [1] * 5
    assert [oracle[name] for name in ("selection_regret", "ece", "brier")] == [0] * 3
    assert compute_reference_metrics(examples, threshold=0.5, seed=1)["random"] != chance
