"""Decide preferences between two answers, of which SoWR, the solvable win rate against a reference run, is the mean.

SoWR is the share of requested tasks that the run wins; a tie counts as half a win. Two equal runs therefore have 0.5,
and the reference's rate against the run is one minus the run's. StableToolBench prints the share of wins alone, so
wins, ties and losses are reported too. This module makes no requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from codetool.judges.solve_rate import is_solved
from codetool.judges.verdict_parser import Choice, Label

Preference = Literal["win", "tie", "loss"]
"""Result of comparing a run's answer with the reference's answer."""

PREFERENCE_SCORES: dict[Preference, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}


def compare_pass_labels(own: Sequence[Label], reference: Sequence[Label]) -> Preference | None:
    """Return the preference if exactly one answer is solved, by the votes on each; else None."""
    solved = is_solved(own), is_solved(reference)
    return None if solved[0] == solved[1] else "win" if solved[0] else "loss"


def combine_orders(own_first: Choice, own_second: Choice) -> Preference:
    """Combine two comparisons, one with the run's own answer first and one with it second.

    The result is a tie unless both comparisons choose the same answer, since a judge may prefer a position.
    """
    if (own_first, own_second) == ("first", "second"):
        return "win"
    return "loss" if (own_first, own_second) == ("second", "first") else "tie"


def decide_by_majority(preferences: Iterable[Preference]) -> Preference:
    """Return a task's preference: a win if its rounds have more wins than losses; ties do not count."""
    counts = Counter(preferences)
    return "win" if counts["win"] > counts["loss"] else "loss" if counts["win"] < counts["loss"] else "tie"
