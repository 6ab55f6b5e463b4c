"""A decoder for any causal language model of transformers, on a GPU if there is one, else on the CPU.

Limits: each forward pass is for a single prompt, so candidates of one prompt are generated together, but those of
several prompts one after the other; every row has a copy of its prompt's keys and values. Models whose cache is not the
keys and values of all tokens (sliding windows, state spaces) are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from codetool.errors import MissingError
from codetool.model_types import Weights
from codetool.models.kv_slots import Prefix
from codetool.models.lora import merge_adapter
from codetool.models.support import require_full_attention


@dataclass
class CachedRows:
    """Rows that are being generated after one prefix, with the keys and values of all their tokens."""

    cache: Any
    """`DynamicCache` of transformers."""
    count: int
    """Number of rows."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Continue with the rows of these indices; an index that occurs several times duplicates its row."""
        self.count = len(rows)
        if rows:
            self.cache.batch_select_indices(torch.tensor(list(rows), device=self.cache.layers[0].keys.device))


class TransformersDecoder:
    """A loaded model of transformers that generates tokens."""

    def __init__(self, weights: Weights) -> None:
        """Load the base and merge the adapter into it.

        Raises MissingError for damaged files, and ConfigError for an unsupported model or adapter.
        """
        transformers.utils.logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            config = AutoConfig.from_pretrained(weights.base, local_files_only=True)
            require_full_attention(config.to_dict(), weights.base)
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                weights.base, dtype=getattr(torch, weights.precision), local_files_only=True
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise MissingError(f"{weights.base} does not hold a model that can be loaded: {error}") from error
        if weights.adapter is not None:
            _merge_into_model(self._model, weights.adapter)
        self._model = self._model.to(device).eval().requires_grad_(False)
        self._device = torch.device(device)

    def prefill(self, prefix: Prefix | None, tokens: Sequence[int]) -> tuple[Prefix, Tensor]:
        """Return the prefix `prefix` extended by tokens, and the logits `(vocabulary,)` after the last token."""
        cache = DynamicCache()
        if prefix:
            for layer, (keys, values) in enumerate(prefix.cache):
                cache.update(keys[None], values[None], layer)
        logits = self._forward(torch.tensor([list(tokens)]), cache)
        key_values = torch.stack([torch.stack([layer.keys[0], layer.values[0]]) for layer in cache.layers])
        return Prefix((*(prefix.tokens if prefix else ()), *tokens), key_values), logits[0]

    def start(self, prefix: Prefix) -> CachedRows:
        """Return a new group of one row after a prefix."""
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(prefix.cache):
            cache.update(keys[None], values[None], layer)
        return CachedRows(cache, 1)

    reads_drafts = False

    def step(self, groups: Sequence[CachedRows], tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """Append one token to every row of every group, in order, and return the next logits `(rows, vocabulary)`.

        `counts` must be None: each row takes one token.
        """
        logits, start = [], 0
        for group in groups:
            logits.append(self._forward(torch.tensor(tokens[start : start + group.count])[:, None], group.cache))
            start += group.count
        return torch.cat(logits)

    def _forward(self, tokens: Tensor, cache: Any) -> Tensor:
        """Return the logits `(rows, vocabulary)` after tokens `(rows, tokens)`; `cache` gets their keys and values."""
        out = self._model(input_ids=tokens.to(self._device), past_key_values=cache, use_cache=True, logits_to_keep=1)
        last: Tensor = out.logits[:, -1].float().cpu()
        return last


def _merge_into_model(model: Any, adapter: Path) -> None:
    weights = {name: parameter.data for name, parameter in model.named_parameters()}
    original = dict(weights)
    merge_adapter(weights, adapter)
    for name, parameter in model.named_parameters():
        if weights[name] is not original[name]:
            parameter.data = weights[name]
