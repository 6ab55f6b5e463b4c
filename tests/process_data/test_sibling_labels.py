"""Labels, pairs and balance."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tree_world import JUDGE, TASK, rollout, settings

from codetool.process_data.examples import make_process_examples
from codetool.process_data.labels import apply_labels, choose_steps_to_drop, label_steps, pair_siblings
from codetool.process_data.rollouts import Rollout


def labels(tree: Rollout, **changes: object) -> dict[str, bool | None]:
    return {step.node.id: step.label for step in label_steps(tree, settings(**changes))}


def test_of_two_siblings_the_one_with_the_higher_share_has_more_potential() -> None:
    tree = rollout({"1-1": True, "1-2": False, "2-1": False, "2-2": False})
    assert labels(tree) == {"1": True, "2": False, "1-1": True, "1-2": False, "2-1": None, "2-2": None}


def test_a_step_that_ran_beats_one_that_did_not_whatever_follows() -> None:
    tree = rollout({"1-1": True, "2-1": False}, failed=("1",))
    assert labels(tree) == {"1": False, "2": True, "1-1": None, "2-1": None}


def test_steps_that_both_failed_are_told_apart_by_their_estimate() -> None:
    assert labels(rollout({"1-1": True, "2-1": False}, failed=("1", "2")))["1"] is True


def test_the_hard_estimate_asks_only_whether_any_leaf_succeeds() -> None:
    tree = rollout({"1-1": True, "1-2": False, "2-1": True, "2-2": True, "3": False})
    assert [labels(tree, estimator="soft")[name] for name in "123"] == [False, True, False]
    assert [labels(tree, estimator="hard")[name] for name in "123"] == [True, True, False]


def test_of_many_all_the_best_are_true_and_all_others_false() -> None:
    outcomes = {str(place): place in (2, 11, 12) for place in range(1, 13)}
    assert labels(rollout(outcomes, failed=("12",))) == {
        str(place): place in (2, 11) for place in range(1, 13)
    }  # 12 succeeds and did not run


def test_an_only_child_has_no_label() -> None:
    assert labels(rollout({"1": True})) == {"1": None}


def test_shares_that_are_equal_are_equal_whatever_they_are_made_of() -> None:
    thirds = {"1-1": True, "1-2": False, "1-3": False, "2-1": True, "2-2": False}
    tree = rollout(thirds, times={"2-2": 2})
    assert labels(tree)["1"] is None and labels(tree)["2"] is None


def test_children_of_1_1_and_1_10_are_different_groups() -> None:
    outcomes = {f"1-{place}-{child}": (place == 10) == (child == 1) for place in range(1, 11) for child in (1, 2)}
    found = labels(rollout(outcomes))
    assert found["1-1-1"] is False and found["1-1-2"] is True
    assert found["1-10-1"] is True and found["1-10-2"] is False


def test_pairs_are_siblings_that_differ_weighted_by_how_often_they_were_drawn() -> None:
    tree = rollout({"1": True, "2": False, "3": False}, times={"1": 2, "2": 3, "3": 1}, failed=("3",))
    found = pair_siblings(make_process_examples(TASK, label_steps(tree, settings()), JUDGE), "soft")
    assert [(pair.first.node_id, pair.second.node_id, pair.first_is_better, pair.weight) for pair in found] == [
        ("1", "2", True, 6),
        ("1", "3", True, 2),
        ("2", "3", True, 3),
    ]


def test_pairs_never_cross_tasks_or_groups() -> None:
    found = make_process_examples(TASK, label_steps(rollout({"1-1": True, "2-1": False}), settings()), JUDGE)
    other = [replace(example, task_id="t2", soft=0.5) for example in found]
    named = [
        (pair.first.task_id, pair.first.node_id, pair.second.node_id)
        for pair in pair_siblings([*found, *other], "soft")
    ]
    assert named == [("t1", "1", "2")]


def test_labels_can_be_made_anew_from_examples() -> None:
    tree = rollout({"1-1": True, "1-2": False, "2-1": False, "2-2": False})
    found = make_process_examples(TASK, label_steps(tree, settings()), JUDGE)
    assert apply_labels([replace(example, label=None) for example in found], "soft") == found


@pytest.mark.parametrize(("true", "false"), [(7, 20), (20, 7), (5, 5), (0, 4)])
def test_balance_leaves_as_many_true_as_false_and_every_step_without_label(true: int, false: int) -> None:
    steps = [("t", f"a{i}", True) for i in range(true)] + [("t", f"b{i}", False) for i in range(false)]
    dropped = choose_steps_to_drop([*steps, ("t", "c", None)], seed=0)
    kept = [label for task, node, label in steps if (task, node) not in dropped]
    assert kept.count(True) == kept.count(False) == min(true, false)
    assert ("t", "c") not in dropped


def test_what_balance_drops_depends_on_the_seed_and_not_on_the_order() -> None:
    steps = [("t", str(i), i < 5) for i in range(40)]
    dropped = choose_steps_to_drop(steps, seed=0)
    assert dropped == choose_steps_to_drop(reversed(steps), seed=0)
    assert dropped != choose_steps_to_drop(steps, seed=1)


def test_a_step_without_a_decided_leaf_has_no_label() -> None:
    assert labels(rollout({"1-1": True}, "2")) == {"1": None, "1-1": None}
