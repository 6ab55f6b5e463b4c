"""SoPR, the solvable pass rate: labels of answers in, rates out. Nobody is asked here.

Every vote on an answer scores 1 if it is Solved, 0.5 if Unsure and 0 if Unsolved. The solve rate is the mean over all
tasks asked for of the mean of their votes, a task without votes counting 0; StableToolBench computes the same number as
the mean over its rounds of votes of the rate of each round (https://arxiv.org/abs/2403.07714, section 4).

Three spreads are told apart. The interval and the standard error say how far other tasks could have moved the rate; the
deviation of the rounds, the ± that StableToolBench prints, says how far the same judge asked again could have: it is no
interval of the rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from codetool.judges.verdict_parser import Label

LABEL_SCORES: dict[Label, float] = {"Solved": 1.0, "Unsure": 0.5, "Unsolved": 0.0}


def score_votes(labels: Sequence[Label]) -> float:
    """The mean of an answer's votes, in [0, 1]; 0 without votes."""
    return sum(LABEL_SCORES[label] for label in labels) / len(labels) if labels else 0.0


def is_solved(labels: Sequence[Label]) -> bool:
    """Whether more votes say Solved than Unsolved: the pass label of an answer."""
    return score_votes(labels) > 0.5


def compute_round_rates(votes: Sequence[Sequence[Label]], asked: int) -> list[float]:
    """The solve rate of each round of votes over `asked` tasks, `votes` holding those of each judged answer in order.

    A vote that is missing scores 0.
    """
    rounds = max(map(len, votes), default=0)
    return [sum(LABEL_SCORES[labels[i]] for labels in votes if i < len(labels)) / asked for i in range(rounds)]


def compute_vote_deviation(votes: Sequence[Sequence[Label]], asked: int) -> float | None:
    """The standard deviation of the rounds' solve rates, the rounds being all there are; None without a vote."""
    rates = compute_round_rates(votes, asked)
    if not rates:
        return None
    middle = sum(rates) / len(rates)
    return math.sqrt(sum((rate - middle) ** 2 for rate in rates) / len(rates))


def compute_standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean of the tasks' values, the tasks being a sample; None for fewer than two."""
    if len(values) < 2:
        return None
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values))
