"""Compute SoPR, the solvable pass rate, from the labels of a judge's votes. This module makes no requests.

A vote scores 1 if it is Solved, 0.5 if Unsure and 0 if Unsolved. A task's score is the mean of its votes, 0 without
votes; the solve rate is the mean score of all requested tasks. StableToolBench computes the same number as the mean of
the rates of its rounds of votes (https://arxiv.org/abs/2403.07714, section 4).

There are three measures of spread. The confidence interval and the standard error describe the sampling of tasks. The
deviation over rounds, the ± that StableToolBench prints, describes the variation of the judge on the same tasks; it is
not a confidence interval of the rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codetool.judges.verdict_parser import Label

LABEL_SCORES: dict[Label, float] = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}


def score_votes(labels: Sequence[Label]) -> float:
    """Return the mean score of an answer's votes, in [0, 1]; 0 without votes."""
    return sum(LABEL_SCORES[label] for label in labels) / len(labels) if labels else 0.0


def is_solved(labels: Sequence[Label]) -> bool:
    """Return whether more votes are Solved than Unsolved, which is the pass label of the answer."""
    return score_votes(labels) > 0.5


def compute_round_rates(votes: Sequence[Sequence[Label]], asked: int) -> list[float]:
    """Return the solve rate of each round of votes over `asked` tasks.

    `votes` holds the labels of each judged answer in the order of the rounds. A missing vote scores 0.
    """
    rounds = max(map(len, votes), default=0)
    return [sum(LABEL_SCORES[labels[i]] for labels in votes if i < len(labels)) / asked for i in range(rounds)]


def compute_vote_deviation(votes: Sequence[Sequence[Label]], asked: int) -> float | None:
    """Return the population standard deviation of the rounds' solve rates; None without a vote."""
    rates = compute_round_rates(votes, asked)
    if not rates:
        return None
    mean = sum(rates) / len(rates)
    return math.sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))


def compute_standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of a sample of tasks' values; None for fewer than two tasks."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
