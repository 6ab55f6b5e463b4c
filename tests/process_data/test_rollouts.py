"""Estimates, worked out by hand."""

from __future__ import annotations

import pytest
from tree_world import rollout, settings

from codetool.process_data.rollouts import Estimate, Rollout, estimate_steps


def test_soft_is_the_share_of_leaves_that_succeed_and_hard_whether_any_does() -> None:
    tree = rollout({"1-1": True, "1-2": False, "2-1-1": False, "2-1-2": False, "2-2": False})
    found = estimate_steps(tree, settings())
    assert {name: (each.soft, each.hard) for name, each in found.items()} == {
        "1": (0.5, True),
        "1-1": (1.0, True),
        "1-2": (0.0, False),
        "2": (0.0, False),
        "2-1": (0.0, False),
        "2-1-1": (0.0, False),
        "2-1-2": (0.0, False),
        "2-2": (0.0, False),
    }


# Step 1 has two children. 1-1 was drawn twice and leads to 1-1-1 (once, right) and 1-1-2 (drawn twice, wrong); 1-2 was
# drawn once and is right. Ways from step 1 down: 2·1 right + 2·2 wrong + 1 right = 7, of which 3 right. Steps that
# remain: two for each of the six ways through 1-1, one for 1-2: 13.
MERGED = rollout(
    {"1-1-1": True, "1-1-2": False, "1-2": True}, times={"1": 5, "1-1": 2, "1-1-1": 1, "1-1-2": 2, "1-2": 1}
)


def test_merged_duplicates_count_as_often_as_they_were_drawn() -> None:
    found = estimate_steps(MERGED, settings())
    assert found["1"].soft == 3 / 7
    assert found["1-1"].soft == 1 / 3  # its own multiplicity says nothing about what follows it
    assert found["1-1-2"].soft == 0.0


def test_duplicates_weigh_as_if_they_had_been_left_apart() -> None:
    apart = rollout(
        {
            "1-1-1": True, "1-1-2": False, "1-1-3": False,
            "1-2-1": True, "1-2-2": False, "1-2-3": False,
            "1-3": True,
        }
    )  # fmt: skip
    for tau in ("mean", "sum"):
        assert (
            estimate_steps(apart, settings(length_term=tau))["1"]
            == estimate_steps(MERGED, settings(length_term=tau))["1"]
        )


@pytest.mark.parametrize(("tau", "remaining"), [("mean", 13 / 7), ("sum", 13)])
def test_the_latent_reward_falls_with_failures_and_with_remaining_steps(tau: str, remaining: float) -> None:
    latent = estimate_steps(MERGED, settings(length_term=tau))["1"].latent
    assert latent == pytest.approx(0.9 ** (4 / 7) * 0.95 ** (remaining / 20), rel=1e-12)


def test_a_leaf_has_no_steps_left() -> None:
    found = estimate_steps(MERGED, settings())
    assert found["1-2"] == Estimate(1.0, True, 1.0)
    assert found["1-1-2"] == Estimate(0.0, False, 0.9)


def test_the_bases_and_the_horizon_are_settings() -> None:
    latent = estimate_steps(MERGED, settings(alpha=0.5, beta=0.8, horizon=4))["1"].latent
    assert latent == pytest.approx(0.5 ** (4 / 7) * 0.8 ** (13 / 7 / 4), rel=1e-12)


def test_1_10_is_no_child_of_1_1() -> None:
    outcomes = {f"1-{place}-1": place >= 10 for place in range(1, 13)}
    found = estimate_steps(rollout(outcomes), settings())
    assert [found[f"1-{place}"].soft for place in range(1, 13)] == [0.0] * 9 + [1.0] * 3
    assert found["1"].soft == 3 / 12
    assert found["1-1"].latent == pytest.approx(0.9 * 0.95 ** (1 / 20), rel=1e-12)  # one leaf, one step away


def test_a_step_that_the_search_left_is_unknown_and_counts_neither_way() -> None:
    tree = rollout({"1-1": True}, "1-2", "2")
    assert [leaf.id for leaf in tree.find_leaves()] == ["2", "1-1", "1-2"]
    found = estimate_steps(tree, settings())
    assert found.keys() == {"1", "1-1"}
    assert found["1"].soft == 1.0


def test_a_tree_of_its_root_alone_has_no_estimates() -> None:
    tree = rollout({})
    assert estimate_steps(Rollout(tree.task, tree.nodes[:1], {}), settings()) == {}
