"""Log-probabilities and ids of the tokens of a completion, in responses to requests that ask for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_LOGPROB = 0.01
"""Greatest logarithm of a probability, with a margin for rounding; a response with a greater one is malformed."""

TokenLogprobs = tuple[tuple[str, float], ...]
"""Text and natural logarithm of the probability of each token."""


def parse_token_logprobs(choice: Mapping[str, Any]) -> TokenLogprobs | None:
    """Parse the log-probabilities of all tokens of a choice, None if it does not have them."""
    try:
        tokens = tuple((str(entry["token"]), float(entry["logprob"])) for entry in choice["logprobs"]["content"])
    except (LookupError, TypeError, ValueError):
        return None
    return tokens if tokens and all(math.isfinite(value) and value <= MAX_LOGPROB for _, value in tokens) else None


def parse_token_ids(choice: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Parse the ids of all tokens of a choice, as vLLM gives them for `return_token_ids`; None if it has none."""
    ids = choice.get("token_ids")
    if not isinstance(ids, list) or not ids or not all(type(token) is int and token >= 0 for token in ids):
        return None
    return tuple(ids)


def cut_tokens(tokens: TokenLogprobs | None, chars: int) -> TokenLogprobs | None:
    """Return the first tokens, until their texts have a number of characters."""
    if tokens is None:
        return None
    kept, length = [], 0
    for text, value in tokens:
        if length >= chars:
            break
        kept.append((text, value))
        length += len(text)
    return tuple(kept)
