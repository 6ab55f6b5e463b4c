"""SoWR, the solvable win rate of a run against a reference run: preferences in, rates out. Nobody is asked here.

It is the share of tasks asked for that the run wins, a tie counting as half a win, so that two equal runs get 0.5 and
the rate of the reference against the run is one minus it. StableToolBench prints the share of wins alone; wins, ties
and losses are therefore told apart beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from codetool.judges.solve_rate import is_solved
from codetool.judges.verdict_parser import Choice, Label

Preference = Literal["win", "tie", "loss"]
"""How a run's answer compares with the reference's."""

PREFERENCE_SCORES: dict[Preference, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def compare_pass_labels(own: Sequence[Label], reference: Sequence[Label]) -> Preference | None:
    """What the votes on both answers decide: the solved one wins over one that is not; None if they are alike."""
    solved = is_solved(own), is_solved(reference)
    return None if solved[0] == solved[1] else "win" if solved[0] else "loss"


def combine_orders(own_first: Choice, own_second: Choice) -> Preference:
    """What two comparisons say together, the run's own answer first in one and second in the other.

    A choice that goes with the place of an answer rather than with the answer is a tie.
    """
    if (own_first, own_second) == ("first", "second"):
        return "win"
    return "loss" if (own_first, own_second) == ("second", "first") else "tie"


def decide_by_majority(preferences: Iterable[Preference]) -> Preference:
    """The preference of a task from those of its rounds: more wins than losses win; ties decide nothing."""
    counts = Counter(preferences)
    return "win" if counts["win"] > counts["loss"] else "loss" if counts["win"] < counts["loss"] else "tie"
