"""The layers of a Llama model for packed forward passes, without importing transformers, which takes seconds.

Every operation is that of transformers' Llama, in the same order and data type, so both give the same scores.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codetool.errors import MissingError
from codetool.models.llama_decoder import LlamaConfig
from codetool.models.lora import merge_adapter

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of a layer, given by its number: `(heads, tokens, head)`, twice `(kv_heads, tokens, head)` to `(tokens,
hidden)`."""


class LlamaBody:
    """The embedding, the layers and the last norm of a Llama, on the CPU."""

    def __init__(self, folder: Path, adapter: Path | None, dtype: torch.dtype) -> None:
        """Load a model folder and merge the adapter. Raises MissingError and ConfigError as `LlamaDecoder` does."""
        self.config = LlamaConfig.from_folder(folder)
        try:
            loaded = load_file(folder / "model.safetensors")
        except SafetensorError as error:
            raise MissingError(f"{folder} does not hold a model that can be loaded: {error}") from error
        self._weights = {name: tensor.to(dtype) for name, tensor in loaded.items()}
        if adapter is not None:
            merge_adapter(self._weights, adapter)
        self._embedding = self._weights["model.embed_tokens.weight"]
        self.head = self._weights.get("lm_head.weight", self._embedding)
        size = self.config.head
        self._frequencies = 1.0 / self.config.theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Return the hidden states `(tokens, hidden)` of tokens at positions of their texts."""
        angles = torch.cat([positions[:, None].float() * self._frequencies] * 2, -1)
        x = F.embedding(tokens, self._embedding)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for i in range(self.config.layers):
            name = f"model.layers.{i}."
            normed = self._normalize(x, f"{name}input_layernorm")
            query, key, value = (
                self._project(normed, f"{name}self_attn.{part}_proj").view(len(x), -1, self.config.head).transpose(0, 1)
                for part in "qkv"
            )
            attended = attend(i, _rotate(query, cos, sin), _rotate(key, cos, sin), value)
            x = x + self._project(attended, f"{name}self_attn.o_proj")
            normed = self._normalize(x, f"{name}post_attention_layernorm")
            gate = F.silu(self._project(normed, f"{name}mlp.gate_proj"))
            x = x + self._project(gate * self._project(normed, f"{name}mlp.up_proj"), f"{name}mlp.down_proj")
        return self._normalize(x, "model.norm")

    def _project(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"])

    def _normalize(self, x: Tensor, name: str) -> Tensor:
        """Return the RMS norm, computed in float32 and multiplied by its weight in the data type of `x`."""
        exact = x.float()
        exact = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.config.epsilon)
        return self._weights[f"{name}.weight"] * exact.to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the rotary embedding of queries or keys `(heads, tokens, head)`."""
    left, right = x.chunk(2, -1)
    turned = torch.cat([-right, left], -1)
    return x * cos + turned * sin
