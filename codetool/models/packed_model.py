"""A causal language model that reads many pieces of text in one pass, each after a prefix it has read before.

The pieces lie one behind the other in a single row, so nothing is padded and every matrix of the model is multiplied
once for all of them; only attention is computed family by family. A family is some pieces after the same prefix: they
see its keys and values, which are not computed again, and not each other. Logits exist for two tokens at
the last position of a piece.

Limits: architectures whose attention is causal over everything before (Llama, Qwen2, Qwen3, Mistral without a window).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Precision
from codetool.models.lora import merge_adapter
from codetool.models.support import require_custom_mask_support

ATTENTION_NAME = "codetool_packed"
"""Name that transformers knows our attention by."""


@dataclass(frozen=True)
class PrefixGroup:
    """Pieces of text, each in tokens, after one prefix.

    The prefix is the caches `(layers, 2, kv_heads, tokens, head)` of its parts.
    """

    prefix: Sequence[Tensor]
    pieces: Sequence[Sequence[int]]

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prefix."""
        return sum(cache.shape[3] for cache in self.prefix)

    @property
    def uncached_tokens(self) -> int:
        """Tokens to read."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True)
class PackedOutput:
    """What reading a piece brought: its keys and values, and the two labels' logits after its last token."""

    cache: Tensor
    logits: tuple[float, float]


class PackedModel:
    """A loaded model. Nothing requires a gradient."""

    def __init__(self, folder: Path, adapter: Path | None, precision: Precision, device: str) -> None:
        """Load the folder, with the adapter's weights added to it.

        Raises ConfigError for an architecture that cannot be read so, another kind of adapter or a device that is not
        there, MissingError for damaged files.
        """
        self.device = _select_device(device)
        model = _load_model(folder, precision)
        if adapter is not None:
            _merge_into_model(adapter, model)
        model = model.to(self.device).eval().requires_grad_(False)
        self.context: int = model.config.max_position_embeddings
        self._body: Any = model.base_model
        self._head: Any = model.get_output_embeddings()

    def forward(self, families: Sequence[PrefixGroup], labels: tuple[int, int]) -> list[list[PackedOutput]]:
        """What every piece of every family brought, in order."""
        pieces = [piece for family in families for piece in family.pieces]
        positions = [
            range(family.cached_tokens, family.cached_tokens + len(piece))
            for family in families
            for piece in family.pieces
        ]
        pack = _Pack(families, self._head.weight.dtype, self.device)
        hidden = self._body(
            input_ids=torch.tensor([[token for piece in pieces for token in piece]], device=self.device),
            position_ids=torch.tensor([[place for some in positions for place in some]], device=self.device),
            use_cache=False,
            pack=pack,
        ).last_hidden_state[0]
        lengths = [len(piece) for piece in pieces]
        last = torch.tensor(lengths, device=self.device).cumsum(0) - 1
        wanted = self._head.weight[list(labels)].float()
        logits = F.linear(hidden[last].float(), wanted).tolist()  # bfloat16 would round a logit of 20 to 1/8
        caches = iter(torch.stack(pack.new).split(lengths, 3))
        read = iter([PackedOutput(cache.contiguous(), (a, b)) for cache, (a, b) in zip(caches, logits, strict=True)])
        return [[next(read) for _ in family.pieces] for family in families]


class _Pack:
    """The families of one pass as attention sees them, and the keys and values that it leaves behind."""

    def __init__(self, families: Sequence[PrefixGroup], dtype: torch.dtype, device: torch.device) -> None:
        self.families = families
        self.masks = [_build_mask(family, dtype, device) for family in families]
        self.new: list[Tensor] = []
        """For each layer `(2, kv_heads, tokens, head)`."""


def _build_mask(family: PrefixGroup, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`(new, known + new)`, added to scores: a token sees the prefix and, of its own piece, what stands before it."""
    own = torch.block_diag(*[torch.ones(len(piece), len(piece), device=device).tril() for piece in family.pieces])
    seen = F.pad(own, (family.cached_tokens, 0), value=1.0)
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(seen == 0, float("-inf"))


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, *, scaling: float, pack: _Pack, **_: Any
) -> tuple[Tensor, None]:
    """Attention of one layer over all families: `(1, heads, tokens, head)` to `(1, tokens, heads, head)`."""
    layer, start, attended = module.layer_idx, 0, []
    pack.new.append(torch.stack([key[0], value[0]]))
    for family, seen in zip(pack.families, pack.masks, strict=True):
        own = slice(start, start + family.uncached_tokens)
        keys, values = torch.cat([*(cache[layer] for cache in family.prefix), pack.new[-1][:, :, own]], 2)
        # The query heads that share a key head stand one below the other, so that no key is copied for them.
        together = query[0, :, own].reshape(keys.shape[0], -1, keys.shape[2])
        out = _weigh_values(together * scaling, keys, values, seen)
        attended.append(out.reshape(-1, family.uncached_tokens, keys.shape[2]))
        start += family.uncached_tokens
    return torch.cat(attended, 1).transpose(0, 1)[None], None


def _weigh_values(query: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """The values weighted by attention: `(kv_heads, queries, head)`, where `seen` is the mask of each query head."""
    new, known = seen.shape[0], seen.shape[1] - seen.shape[0]
    if query.device.type != "cpu":
        mask = seen.repeat(query.shape[1] // new, 1)[None, None]
        return F.scaled_dot_product_attention(query[None], keys[None], values[None], attn_mask=mask, scale=1.0)[0]
    # Two matrix products take a CPU half to a third of the time of its fused attention with a mask.
    scores = torch.bmm(query, keys.transpose(1, 2)).view(-1, new, known + new)
    scores[..., known:] += seen[:, known:]
    return torch.bmm(scores.softmax(-1).view(*query.shape[:2], -1), values)


def _load_model(folder: Path, precision: Precision) -> Any:
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
