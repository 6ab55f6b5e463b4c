"""SoWR from preferences, on preferences of ours and on those that StableToolBench has recorded."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from data_folder import data_folder

from codetool.judges.verdict_parser import Choice, Label
from codetool.judges.win_rate import (
    PREFERENCE_SCORES,
    Preference,
    combine_orders,
    compare_pass_labels,
    decide_by_majority,
)

SOLVED: tuple[Label, ...] = ("Solved", "Solved", "Unsolved")
UNSOLVED: tuple[Label, ...] = ("Unsolved", "Unsure", "Solved")


def test_a_solved_answer_wins_over_one_that_is_not() -> None:
    assert compare_pass_labels(SOLVED, UNSOLVED) == "win"
    assert compare_pass_labels(UNSOLVED, SOLVED) == "loss"
    assert compare_pass_labels(SOLVED, SOLVED) is compare_pass_labels(UNSOLVED, UNSOLVED) is None


@pytest.mark.parametrize(
    ("own_first", "own_second", "preference"),
    [
        ("first", "second", "win"),
        ("second", "first", "loss"),
        ("first", "first", "tie"),
        ("second", "second", "tie"),
        ("first", "equal", "tie"),
        ("equal", "equal", "tie"),
    ],
)
def test_a_choice_that_flips_with_the_order_is_a_tie(
    own_first: Choice, own_second: Choice, preference: Preference
) -> None:
    assert combine_orders(own_first, own_second) == preference


def test_most_rounds_decide() -> None:
    assert decide_by_majority(["win", "tie", "tie"]) == "win"
    assert decide_by_majority(["loss", "win", "tie"]) == "tie"
    assert decide_by_majority(["loss", "loss", "win"]) == "loss"


@pytest.mark.data
def test_recorded_preferences_give_the_recorded_labels() -> None:
    csv.field_size_limit(sys.maxsize)
    folder = data_folder("stabletoolbench/examples/preference_results")
    [file], [table] = folder.glob("*.json"), folder.glob("*.csv")
    counts = json.loads(file.read_text())
    rows = list(csv.DictReader(table.read_text().splitlines(keepends=True), delimiter="\t"))
    meaning = {"1": "loss", "2": "win", "3": "tie"}  # theirs name the model that is preferred, the reference first
    assert {row["query_id"] for row in rows} == set(counts)
    for row in rows:
        rounds = counts[row["query_id"]]
        cast: list[Preference] = ["win"] * rounds[row["output_model"]]
        cast += ["loss"] * rounds[row["ref_model"]]
        assert decide_by_majority(cast) == meaning[row["preference_label"]]


def test_two_equal_runs_share_the_points() -> None:
    assert PREFERENCE_SCORES["tie"] * 2 == PREFERENCE_SCORES["win"] + PREFERENCE_SCORES["loss"] == 1
