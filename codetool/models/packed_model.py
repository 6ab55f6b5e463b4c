"""A causal language model that computes many pieces of text in one forward pass, each after a cached prefix.

The pieces are concatenated in a single row, so nothing is padded and every matrix product is computed once for all of
them; only attention is computed group by group. A group consists of pieces after the same prefix: they attend to its
cached keys and values, but not to each other. Logits are computed for two tokens, at the last position of each piece.

Limits: architectures with full causal attention (Llama, Qwen2, Qwen3, Mistral without a sliding window).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Precision
from codetool.models.llama_body import LlamaBody
from codetool.models.lora import merge_adapter
from codetool.models.support import is_supported_by_llama_decoder, require_custom_mask_support

ATTENTION_NAME = "codetool_packed"
"""Name under which this attention is registered with transformers."""


@dataclass(frozen=True)
class PrefixGroup:
    """Tokenized pieces of text after one cached prefix."""

    prefix: Sequence[Tensor]
    """Keys and values of the prefix's parts, in order: each `(layers, 2, kv_heads, tokens, head)`."""
    pieces: Sequence[Sequence[int]]
    """Tokens of each piece."""

    @property
    def cached_tokens(self) -> int:
        """Number of tokens of the prefix."""
        return sum(cache.shape[3] for cache in self.prefix)

    @property
    def uncached_tokens(self) -> int:
        """Number of tokens to compute."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True)
class PackedOutput:
    """Output of the model for one piece."""

    cache: Tensor
    """Keys and values of the piece: `(layers, 2, kv_heads, tokens, head)`."""
    logits: tuple[float, float]
    """Logits of the two labels after the last token."""


class PackedModel:
    """A loaded model for packed forward passes. No weight requires a gradient.

    Llama models on a CPU are computed by `LlamaBody`, all others by transformers.
    """

    context: int
    """Maximum number of tokens of a text."""
    _llama: LlamaBody | None = None
    _body: Any
    """The transformers model without its head, if `_llama` is None."""
    _head_weight: Tensor

    def __init__(self, folder: Path, adapter: Path | None, precision: Precision, device: str) -> None:
        """Load the model folder and merge the adapter into its weights.

        Raises ConfigError for an unsupported architecture or adapter or a device that does not exist, and MissingError
        for damaged files.
        """
        self.device = _select_device(device)
        if self.device.type == "cpu" and is_supported_by_llama_decoder(folder):
            self._llama = LlamaBody(folder, adapter, getattr(torch, precision))
            self.context = self._llama.config.context
            self._head_weight = self._llama.head
            return
        model = _load_model(folder, precision)
        if adapter is not None:
            _merge_into_model(adapter, model)
        model = model.to(self.device).eval().requires_grad_(False)
        self.context = model.config.max_position_embeddings
        self._body = model.base_model
        self._head_weight = model.get_output_embeddings().weight

    def forward(self, families: Sequence[PrefixGroup], labels: tuple[int, int]) -> list[list[PackedOutput]]:
        """Return the output for every piece of every group, in order; `labels` are the tokens of the two logits."""
        pieces = [piece for family in families for piece in family.pieces]
        positions = [
            range(family.cached_tokens, family.cached_tokens + len(piece))
            for family in families
            for piece in family.pieces
        ]
        pack = _Pack(families, self._head_weight.dtype, self.device)
        hidden = self._compute_hidden_states(
            torch.tensor([token for piece in pieces for token in piece], device=self.device),
            torch.tensor(
                [position for piece_positions in positions for position in piece_positions], device=self.device
            ),
            pack,
        )
        lengths = [len(piece) for piece in pieces]
        last = torch.tensor(lengths, device=self.device).cumsum(0) - 1
        label_weights = self._head_weight[list(labels)].float()
        logits = F.linear(hidden[last].float(), label_weights).tolist()  # bfloat16 would round a logit of 20 to 1/8
        caches = iter(torch.stack(pack.new).split(lengths, 3))
        outputs = iter([PackedOutput(cache.contiguous(), (a, b)) for cache, (a, b) in zip(caches, logits, strict=True)])
        return [[next(outputs) for _ in family.pieces] for family in families]

    def _compute_hidden_states(self, tokens: Tensor, positions: Tensor, pack: _Pack) -> Tensor:
        """Return the last hidden states `(tokens, hidden)`."""
        if self._llama is not None:
            return self._llama.forward(tokens, positions, pack.attend)
        output = self._body(input_ids=tokens[None], position_ids=positions[None], use_cache=False, pack=pack)
        hidden: Tensor = output.last_hidden_state[0]
        return hidden


class _Pack:
    """The groups of one pass with their attention masks, and the new keys and values of all layers."""

    def __init__(self, families: Sequence[PrefixGroup], dtype: torch.dtype, device: torch.device) -> None:
        self.families = families
        self.masks = [_build_mask(family, dtype, device) for family in families]
        self.new: list[Tensor] = []
        """For each layer `(2, kv_heads, tokens, head)`."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Compute attention of one layer over all groups: `(heads, tokens, head)` to `(tokens, hidden)`."""
        start, attended, scaling = 0, [], query.shape[2] ** -0.5
        self.new.append(torch.stack([key, value]))
        for family, seen in zip(self.families, self.masks, strict=True):
            own_slice = slice(start, start + family.uncached_tokens)
            keys, values = torch.cat([*(cache[layer] for cache in family.prefix), self.new[-1][:, :, own_slice]], 2)
            # Query heads that share a key head are stacked along the query dimension, so that keys need not be copied.
            stacked_query = query[:, own_slice].reshape(keys.shape[0], -1, keys.shape[2])
            out = _weigh_values(stacked_query * scaling, keys, values, seen)
            attended.append(out.reshape(-1, family.uncached_tokens, keys.shape[2]))
            start += family.uncached_tokens
        return torch.cat(attended, 1).transpose(0, 1).flatten(1)


def _build_mask(family: PrefixGroup, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the mask `(new, cached + new)` to add to scores: a token sees the prefix and its piece up to itself."""
    within_pieces = torch.block_diag(
        *[torch.ones(len(piece), len(piece), device=device).tril() for piece in family.pieces]
    )
    seen = F.pad(within_pieces, (family.cached_tokens, 0), value=1.0)
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(seen == 0, float("-inf"))


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, *, pack: _Pack, **_: Any
) -> tuple[Tensor, None]:
    """Compute attention for transformers: `(1, heads, tokens, head)` to `(1, tokens, heads, head)`."""
    attended = pack.attend(module.layer_idx, query[0], key[0], value[0])
    return attended.view(1, query.shape[2], query.shape[1], query.shape[3]), None


def _weigh_values(query: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """Return the values weighted by attention: `(kv_heads, queries, head)`; `seen` is the mask of each query head."""
    new_tokens, cached = seen.shape[0], seen.shape[1] - seen.shape[0]
    if query.device.type != "cpu":
        mask = seen.repeat(query.shape[1] // new_tokens, 1)[None, None]
        return F.scaled_dot_product_attention(query[None], keys[None], values[None], attn_mask=mask, scale=1.0)[0]
    # Two matrix products take a CPU half to a third of the time of its fused attention with a mask.
    scores = torch.bmm(query, keys.transpose(1, 2)).view(-1, new_tokens, cached + new_tokens)
    scores[..., cached:] += seen[:, cached:]
    return torch.bmm(scores.softmax(-1).view(*query.shape[:2], -1), values)


def _load_model(folder: Path, precision: Precision) -> Any:
    import transformers  # takes seconds: only where it is needed
    from transformers import AttentionInterface, AutoModelForCausalLM

    transformers.utils.logging.disable_progress_bar()
    AttentionInterface.register(ATTENTION_NAME, _attend)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        require_custom_mask_support(
            config.to_dict(),
            folder,
            user="prm.backend=transformers reads",
            remedy="Let a server run it: prm.backend=vllm or prm.backend=endpoint.",
        )
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, precision), attn_implementation=ATTENTION_NAME, local_files_only=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise MissingError(
            f"{folder} does not hold a model that can be loaded: {_extract_first_line(error)}"
        ) from error


def _merge_into_model(adapter: Path, model: Any) -> None:
    weights = model.state_dict()
    merge_adapter(weights, adapter)
    model.load_state_dict(weights)


def _extract_first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error))


def _select_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"prm.device={name!r} cannot be used here; auto, cpu or cuda:N are what it may be") from error
    return device
