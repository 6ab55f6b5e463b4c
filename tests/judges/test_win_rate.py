"""SoWR from preferences, on preferences of ours and on those that StableToolBench has recorded."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from data_folder import data_folder

from codetool.judges.verdict_parser import Choice, Label
from codetool.judges.win_rate import POINTS, Preference, by_most, by_pass, in_both_orders

SOLVED: tuple[Label, ...] = ("Solved", "Solved", "Unsolved")
UNSOLVED: tuple[Label, ...] = ("Unsolved", "Unsure", "Solved")


def test_a_solved_answer_wins_over_one_that_is_not() -> None:
    assert by_pass(SOLVED, UNSOLVED) == "win"
    assert by_pass(UNSOLVED, SOLVED) == "loss"
    assert by_pass(SOLVED, SOLVED) is by_pass(UNSOLVED, UNSOLVED) is None


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
    assert in_both_orders(own_first, own_second) == preference


def test_most_rounds_decide() -> None:
    assert by_most(["win", "tie", "tie"]) == "win"
    assert by_most(["loss", "win", "tie"]) == "tie"
    assert by_most(["loss", "loss", "win"]) == "loss"


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
        assert by_most(cast) == meaning[row["preference_label"]]


def test_two_equal_runs_share_the_points() -> None:
    assert POINTS["tie"] * 2 == POINTS["win"] + POINTS["loss"] == 1
