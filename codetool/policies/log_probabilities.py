"""How log-probabilities of candidates are rounded before they are recorded."""

from __future__ import annotations

from collections.abc import Iterable

LOG_PROBABILITY_DIGITS = 3
"""Decimal places of a candidate's log-probability: what follows is rounding of the model's arithmetic."""
TOKEN_LOG_PROBABILITY_DIGITS = 5
"""Decimal places of a token's log-probability."""


def round_log_probabilities(values: Iterable[float]) -> tuple[float, ...]:
    """Return the log-probabilities of tokens as they are recorded."""
    return tuple(round(value, TOKEN_LOG_PROBABILITY_DIGITS) for value in values)
