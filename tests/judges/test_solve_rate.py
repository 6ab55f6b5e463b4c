"""SoPR from labels: the formula of StableToolBench, on labels of ours and on those it has recorded."""

from __future__ import annotations

import ast
import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from data_folder import data_folder

from codetool.judges.solve_rate import (
    compute_round_rates,
    compute_standard_error,
    compute_vote_deviation,
    is_solved,
    score_votes,
)
from codetool.judges.verdict_parser import Label, parse_label

S, U, N = Label.__args__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("labels", "value", "solved"),
    [
        ((S, S, S), 1, True),
        ((S, U, N), 0.5, False),
        ((S, U, U), 2 / 3, True),
        ((U, N, N), 1 / 6, False),
        ((), 0, False),
    ],
)
def test_votes_are_averaged_and_most_of_them_decide(labels: tuple[Label, ...], value: float, solved: bool) -> None:
    assert score_votes(labels) == pytest.approx(value)
    assert is_solved(labels) is solved


def test_rounds_are_rated_over_all_tasks_asked_for_and_their_deviation_is_that_of_a_population() -> None:
    votes = [(S, S, U), (N, S, N), (U, U)]  # a fourth task has no result, the third lacks a vote
    assert compute_round_rates(votes, 4) == [1.5 / 4, 2.5 / 4, 0.5 / 4]
    assert compute_vote_deviation(votes, 4) == pytest.approx((((0.0) ** 2 + 0.25**2 + 0.25**2) / 3) ** 0.5)
    assert compute_vote_deviation([(S,), (N,)], 2) == 0.0
    assert compute_vote_deviation([], 2) is None


def test_the_mean_over_rounds_is_the_mean_over_tasks() -> None:
    votes = [(S, U, N), (S, S, S), (N, N, U)]
    rates = compute_round_rates(votes, 5)
    assert sum(rates) / 3 == pytest.approx(sum(map(score_votes, votes)) / 5)


def test_the_standard_error_is_that_of_a_sample_of_tasks() -> None:
    assert compute_standard_error([0.0, 1.0]) == pytest.approx(0.5)
    assert compute_standard_error([1.0]) is None


def recorded(model: str) -> Path:
    return data_folder(f"stabletoolbench/examples/pass_rate_results/virtual_chatgpt_{model}")


def recorded_labels(rounds: Mapping[str, str]) -> list[Label]:
    """The votes of a result file, `{"1": "AnswerStatus.Unsure", …}`, by their round."""
    labels = [parse_label(rounds[number].rpartition(".")[2]) for number in sorted(rounds, key=int)]
    assert all(labels)
    return [label for label in labels if label]


@pytest.mark.data
@pytest.mark.parametrize(("model", "rate"), [("cot", 2 / 3), ("dfs", 1.0)])
def test_recorded_labels_give_the_recorded_scores(model: str, rate: float) -> None:
    [file] = recorded(model).glob("*.json")
    content = json.loads(file.read_text())
    votes = [recorded_labels(each["is_solved"]) for each in content.values()]
    assert all(len(labels) == 3 for labels in votes)
    assert sum(compute_round_rates(votes, len(content))) / 3 == pytest.approx(rate)
    assert compute_vote_deviation(votes, len(content)) == pytest.approx(0)


@pytest.mark.data
@pytest.mark.parametrize("model", ["cot", "dfs"])
def test_both_files_of_a_recorded_result_say_the_same(model: str) -> None:
    csv.field_size_limit(sys.maxsize)
    [file], [table] = recorded(model).glob("*.json"), recorded(model).glob("*.csv")
    rows = list(csv.DictReader(table.read_text().splitlines(keepends=True), delimiter="\t"))
    rounds = {row["query_id"]: ast.literal_eval(row["is_solved"]) for row in rows}
    told = {name: recorded_labels({str(k): v for k, v in each.items()}) for name, each in rounds.items()}
    assert told == {name: recorded_labels(each["is_solved"]) for name, each in json.loads(file.read_text()).items()}
