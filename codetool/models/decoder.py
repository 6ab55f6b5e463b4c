"""The interface of decoders, which generate tokens for several candidates after a common prefix, and their loader.

`LlamaDecoder`, several times as fast, is used for Llama models on a CPU, and `TransformersDecoder` for everything else.
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
    """Rows of tokens that are being generated after one prefix; candidates with the same tokens share a row."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with the rows of these indices; an index that occurs several times duplicates its row."""
        ...


class Decoder(Protocol):
    """A loaded model that generates tokens. Logits are float32 on the CPU."""

    def prefill(self, prefix: Prefix | None, tokens: Sequence[int]) -> tuple[Prefix, Tensor]:
        """Return the prefix `prefix` extended by tokens, and the logits `(vocabulary,)` after the last token."""
        ...

    def start(self, prefix: Prefix) -> Any:
        """Return a new group of one row after a prefix."""
        ...

    @property
    def reads_drafts(self) -> bool:
        """Whether `step` takes several tokens of a row."""
        ...

    def step(self, groups: Sequence[Any], tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """Append tokens to every row of every group, in order, and return the next logits `(tokens, vocabulary)`.

        `counts` are the numbers of tokens of the rows, which follow each other in their row; None means one each. Each
        token becomes a row of its group: `select_rows` chooses those after which the text goes on.
        """
        ...


def load_decoder(weights: Weights) -> Decoder:
    """Load a model with the fastest decoder that supports it on this machine, on a GPU if there is one.

    Raises MissingError for damaged files, and ConfigError for an unsupported model or adapter.
    """
    if is_supported_by_llama_decoder(weights.base) and not torch.cuda.is_available():
        return LlamaDecoder(weights.base, getattr(torch, weights.precision), weights.adapter)
    from codetool.models.transformers_decoder import (
        TransformersDecoder,  # transformers takes seconds: only where it is needed
    )

    return TransformersDecoder(weights)
