"""What writes tokens: a prompt's prefix is computed once, and candidates grow after it.

A Llama on a CPU has a decoder of our own, several times as fast as the general one, which reads everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from codetool.model_types import Weights
from codetool.models.kv_slots import Prefix
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.support import is_supported_by_llama_decoder


class RowGroup(Protocol):
    """Candidates after one prefix while they are being written; those with the same tokens are one row."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, by their place; one that is named again goes on as a copy as well."""
        ...


class Decoder(Protocol):
    """A loaded model. Logits are float32 on the CPU."""

    def prefill(self, known: Prefix | None, tokens: Sequence[int]) -> tuple[Prefix, Tensor]:
        """The prefix extended by tokens, and the logits `(vocabulary,)` after its last one."""
        ...

    def start(self, prefix: Prefix) -> Any:
        """A group of one row after a prefix."""
        ...

    def step(self, groups: Sequence[Any], tokens: Sequence[int]) -> Tensor:
        """The logits `(rows, vocabulary)` after one more token for every row of every group, in order."""
        ...


def load_decoder(weights: Weights) -> Decoder:
    """The fastest decoder that reads this model here; on a GPU where there is one.

    Raises MissingError or ConfigError where the files cannot be read.
    """
    if is_supported_by_llama_decoder(weights.base) and not torch.cuda.is_available():
        return LlamaDecoder(weights.base, getattr(torch, weights.precision), weights.adapter)
    from codetool.models.transformers_decoder import (
        TransformersDecoder,  # transformers takes seconds: only where it is needed
    )

    return TransformersDecoder(weights)
