"""Nucleus (top-p) sampling of tokens from logits with given random numbers, and the log-probabilities of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def sample_tokens(
    logits: Tensor, uniforms: Sequence[Sequence[float]], temperature: float, top_p: float
) -> list[list[int]]:
    """Return a token for each uniform number in [0, 1) of each row of `logits`, `(rows, vocabulary)`.

    The nucleus is the smallest set of most probable tokens whose total probability at the temperature is at least
    `top_p` (Holtzman et al. 2020, arXiv 1904.09751). At temperature 0, the most probable token is taken.
    """
    if temperature == 0:
        return [
            [int(token)] * len(row_uniforms) for token, row_uniforms in zip(logits.argmax(-1), uniforms, strict=True)
        ]
    probabilities = (logits / temperature).softmax(-1).numpy()
    return [
        _sample_from_row(row, row_uniforms, top_p) for row, row_uniforms in zip(probabilities, uniforms, strict=True)
    ]


def compute_log_probabilities(logits: Tensor, tokens: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return the natural logarithm of the probability of each row's tokens, at temperature 1 and without a nucleus.

    `logits` is `(rows, vocabulary)`.
    """
    normalizers = logits.logsumexp(-1)
    return [
        (row[list(row_tokens)] - normalizer).tolist()
        for row, row_tokens, normalizer in zip(logits, tokens, normalizers, strict=True)
    ]


def _sample_from_row(probabilities: NDArray[np.float32], uniforms: Sequence[float], top_p: float) -> list[int]:
    """Return the tokens at which the nucleus' cumulative probability, in vocabulary order, passes each number.

    Tokens with a probability below (1 - top_p) / vocabulary sum to less than 1 - top_p, so the nucleus never contains
    them. Sorting only the probabilities of the others is a hundred times as fast as sorting the whole vocabulary.
    """
    likely = np.flatnonzero(probabilities >= (1 - top_p) / len(probabilities))
    values = probabilities[likely]
    descending = np.sort(values)[::-1]
    last = min(int(descending.cumsum(dtype=np.float64).searchsorted(top_p)), len(descending) - 1)
    nucleus = np.where(values >= descending[last], values, 0).cumsum(dtype=np.float64)
    indices = nucleus.searchsorted(np.asarray(uniforms) * nucleus[-1], side="right")
    return [int(token) for token in likely[indices]]
