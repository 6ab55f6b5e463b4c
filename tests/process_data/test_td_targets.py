"""Targets by temporal differences, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tree_world import JUDGE, TASK, rollout, settings

from codetool.errors import ConfigError
from codetool.model_types import ProcessExample
from codetool.process_data.examples import make_process_examples
from codetool.process_data.labels import label_steps
from codetool.process_data.td_targets import TDSettings, compute_returns, compute_td_targets

# Step 1 was sampled once: 1-1 (wrong, a leaf) and 1-2, whose children are 1-2-1 (right) and 1-2-2 (sampled twice,
# wrong). Step 2 was sampled three times and is right. Step 1-1 did not run.
# V: 1-2 has 1 of 3; 1 has 1 of 4 (1-1 once, 1-2-1 once, 1-2-2 twice); 2 has 1.
TREE = rollout({"1-1": False, "1-2-1": True, "1-2-2": False, "2": True}, times={"2": 3, "1-2-2": 2}, failed=("1-1",))


def examples() -> list[ProcessExample]:
    return make_process_examples(TASK, label_steps(TREE, settings()), JUDGE)


def targets(**changes: float) -> dict[str, float]:
    chosen = TDSettings(**{"decay": 0.5, "discount": 1.0, **changes})
    steps = examples()
    return dict(zip([step.node_id for step in steps], compute_td_targets(steps, chosen), strict=True))


def test_one_step_ahead_is_the_mean_share_of_the_candidates() -> None:
    found = compute_returns(examples(), 0.0, 1.0)
    assert found["1-2"] == pytest.approx(1 / 3)
    assert found["1"] == pytest.approx((0 + 1 / 3) / 2)  # where its own share of leaves is 1/4
    assert found[""] == pytest.approx((1 / 4 + 3 * 1) / 4)
    assert (found["1-1"], found["1-2-1"], found["2"]) == (0.0, 1.0, 1.0)


def test_up_to_the_leaves_each_candidate_is_equally_likely() -> None:
    found = compute_returns(examples(), 1.0, 1.0)
    assert found["1-2"] == pytest.approx(1 / 3)
    assert found["1"] == pytest.approx(1 / 6)
    assert found[""] == pytest.approx((1 / 6 + 3) / 4)


def test_lambda_and_gamma_between_are_as_the_formula_says() -> None:
    found = compute_returns(examples(), 0.5, 0.9)
    below = 0.9 * (1 * (0.5 * 1 + 0.5 * 1) + 2 * 0) / 3
    assert found["1-2"] == pytest.approx(below) == pytest.approx(0.3)
    first = 0.9 * (0 + (0.5 * (1 / 3) + 0.5 * 0.3)) / 2
    assert found["1"] == pytest.approx(first)
    assert found[""] == pytest.approx(0.9 * (0.5 * 0.25 + 0.5 * first + 3 * 1.0) / 4)


@pytest.mark.parametrize(("decay", "discount"), [(0.0, 1.0), (0.3, 0.8), (1.0, 0.95)])
def test_it_is_the_value_plus_the_generalized_advantage(decay: float, discount: float) -> None:
    """The recursion of Schulman et al., written as they do: advantages from the differences."""
    steps = {step.node_id: step for step in examples()}

    def advantage(name: str) -> float:
        children = [step for other, step in steps.items() if other.rpartition("-")[0] == name]
        if not children:
            return 0.0
        deltas = [
            step.multiplicity * (discount * step.soft - steps[name].soft + discount * decay * advantage(step.node_id))
            for step in children
        ]
        return sum(deltas) / sum(step.multiplicity for step in children)

    found = compute_returns(examples(), decay, discount)
    for name, step in steps.items():
        assert found[name] == pytest.approx(step.soft + advantage(name))


def test_progress_is_the_gain_over_the_step_before() -> None:
    value, promise = compute_returns(examples(), 0.5, 1.0), targets()
    alone, half = targets(progress=1.0), targets(progress=0.5)
    assert alone["1-2"] == pytest.approx((1 + value["1-2"] - value["1"]) / 2)
    assert alone["2"] == pytest.approx((1 + 1 - value[""]) / 2)
    assert alone["1-1"] < 0.5 < alone["1-2-1"]
    assert half["1-2"] == pytest.approx((promise["1-2"] + alone["1-2"]) / 2)


def test_the_reward_on_the_spot_is_mixed_in() -> None:
    plain, mixed = targets(), targets(spot=0.25)
    assert mixed["1-1"] == pytest.approx(0.75 * plain["1-1"])
    assert mixed["1-2"] == pytest.approx(0.75 * plain["1-2"] + 0.25)


def test_a_step_of_unknown_outcome_counts_neither_way() -> None:
    tree = rollout({"1-1": True, "2": False}, "1-2")
    steps = make_process_examples(TASK, label_steps(tree, settings()), JUDGE)
    assert compute_returns(steps, 1.0, 1.0) == {"1": 1.0, "2": 0.0, "1-1": 1.0, "": 0.5}


@pytest.mark.parametrize("missing", ["1", "1-2", "1-2-1"])
def test_a_tree_without_some_of_its_steps_is_refused(missing: str) -> None:
    left = [step for step in examples() if step.node_id != missing]
    with pytest.raises(ConfigError, match=r"steps of the task t1 are missing .* collect.balance=false"):
        compute_td_targets(left, TDSettings(decay=0.9, discount=1.0))


def test_two_trees_of_a_task_are_two_trees() -> None:
    twice = [*examples(), *(replace(step, soft=0.0) for step in examples())]
    found = compute_td_targets(twice, TDSettings(decay=1.0, discount=1.0))
    assert found[: len(found) // 2] == list(targets(decay=1.0).values())
    assert set(found[len(found) // 2 :]) == {0.0}
