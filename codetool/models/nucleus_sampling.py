"""Tokens drawn from logits, each row with a random number of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def sample_tokens(
    logits: Tensor, uniforms: Sequence[Sequence[float]], temperature: float, top_p: float
) -> list[list[int]]:
    """A token for each uniform number in [0, 1) of each row of `logits` (rows, vocabulary).

    The nucleus is the smallest set of most probable tokens that holds `top_p` of the probability mass at the
    temperature (Holtzman et al. 2020, arXiv 1904.09751). Temperature 0 takes the most probable token.
    """
    if temperature == 0:
        return [[int(token)] * len(some) for token, some in zip(logits.argmax(-1), uniforms, strict=True)]
    probabilities = (logits / temperature).softmax(-1).numpy()
    return [_sample_from_row(row, some, top_p) for row, some in zip(probabilities, uniforms, strict=True)]


def _sample_from_row(probabilities: NDArray[np.float32], uniforms: Sequence[float], top_p: float) -> list[int]:
    """The tokens at which the nucleus' cumulative probability, in the vocabulary's order, passes each number.

    Tokens below (1 - top_p) / vocabulary hold less than 1 - top_p together, so the nucleus never needs them; sorting
    the values of the others alone is a hundred times as fast as ordering the vocabulary.
    """
    likely = np.flatnonzero(probabilities >= (1 - top_p) / len(probabilities))
    values = probabilities[likely]
    falling = np.sort(values)[::-1]
    last = min(int(falling.cumsum(dtype=np.float64).searchsorted(top_p)), len(falling) - 1)
    nucleus = np.where(values >= falling[last], values, 0).cumsum(dtype=np.float64)
    places = nucleus.searchsorted(np.asarray(uniforms) * nucleus[-1], side="right")
    return [int(token) for token in likely[places]]
