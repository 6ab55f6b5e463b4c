"""Find the tokens of a PRM's two labels, and compute a score from their logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from codetool.errors import ConfigError

ScoreFormula = Literal["softmax", "logit_ratio"]
"""`softmax`: the probability of the first label among the two. `logit_ratio`: first / (first + second) of the raw
logits, as in the reference implementation; it is not a probability and can lie outside [0, 1]."""


def find_label_tokens(labels: tuple[str, str], tokens: Callable[[str], Sequence[int]], model: str) -> tuple[int, int]:
    """Return the token of each label. Raises ConfigError if a label is not a single token, or both are the same.

    `tokens` tokenizes a label; `model` is the name of the model in error messages.
    """
    label_ids = [list(tokens(label)) for label in labels]
    for label, ids in zip(labels, label_ids, strict=True):
        if len(ids) != 1:
            raise ConfigError(
                f"prm.labels: {label!r} is {len(ids)} tokens {ids} of {model}; a label must be a single one. "
                "Choose other words, for example prm.labels=[yes,no]."
            )
    if label_ids[0] == label_ids[1]:
        raise ConfigError(f"prm.labels={list(labels)}: both are token {label_ids[0][0]} of {model}; they must differ.")
    return label_ids[0][0], label_ids[1][0]


def compute_score(formula: ScoreFormula, first: float, second: float) -> float:
    """Return the latent reward computed from the two labels' logits; for `softmax`, log-probabilities work as well."""
    if formula == "softmax":
        return 0.5 * (1 + math.tanh((first - second) / 2))  # the logistic function, which this form cannot overflow
    return first / (first + second) if first + second else 0.5
