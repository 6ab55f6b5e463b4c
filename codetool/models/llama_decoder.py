"""A Llama-family decoder for generation on a CPU: one forward pass over rows that share cached prefixes.

transformers' implementation keeps a KV cache per row and copies it for every token. Here, a prefix is computed once and
copied once into a slot (see `codetool.models.kv_slots`), and all candidates after it attend to the same tensors.

Limits: no biases, no sliding window, default rotary embedding; the sizes are read from the model's `config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from codetool.errors import MissingError
from codetool.models.kv_slots import KVSlots, Prefix, SlotGroup
from codetool.models.lora import merge_adapter


@dataclass(frozen=True)
class LlamaConfig:
    """The sizes and constants of a Llama model, from its `config.json`."""

    layers: int
    heads: int
    kv_heads: int
    head: int
    """Size of an attention head."""
    epsilon: float
    """Epsilon of the RMS norms."""
    theta: float
    """Base of the rotary embedding's frequencies."""
    context: int
    """Maximum number of tokens."""

    @classmethod
    def from_folder(cls, folder: Path) -> LlamaConfig:
        """Load the configuration of a model folder. Raises KeyError if it is not a Llama's."""
        config = json.loads((folder / "config.json").read_text())
        heads = config["num_attention_heads"]
        rope = config.get("rope_parameters") or config
        return cls(
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config["num_key_value_heads"],
            head=config.get("head_dim") or config["hidden_size"] // heads,
            epsilon=config["rms_norm_eps"],
            theta=rope["rope_theta"],
            context=config["max_position_embeddings"],
        )


@dataclass(frozen=True)
class LlamaLayer:
    """The weights of one layer; projections of the same input are concatenated."""

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor
    before: Tensor
    """Weight of the norm before attention."""
    between: Tensor
    """Weight of the norm between attention and MLP."""


class LlamaDecoder:
    """A loaded Llama model that generates tokens. Logits are float32; no weight requires a gradient."""

    def __init__(self, folder: Path, dtype: torch.dtype, adapter: Path | None = None) -> None:
        """Load `model.safetensors` and `config.json` of a folder in Hugging Face format; compute in `dtype`.

        An adapter is merged into the weights in float32, before they are cast to `dtype`. Raises MissingError for
        damaged files and ConfigError for an adapter that does not fit.
        """
        self.config = LlamaConfig.from_folder(folder)
        try:
            loaded = load_file(folder / "model.safetensors")
        except SafetensorError as error:
            raise MissingError(f"{folder} does not hold a model that can be loaded: {error}") from error
        if adapter is not None:
            loaded = {name: tensor.float() for name, tensor in loaded.items()}
            merge_adapter(loaded, adapter)
        weights = {name: tensor.to(dtype) for name, tensor in loaded.items()}
        self.embedding = weights["model.embed_tokens.weight"]
        self.head = weights.get("lm_head.weight", self.embedding)
        self.norm = weights["model.norm.weight"]
        self.layers = [_build_layer(weights, f"model.layers.{i}.") for i in range(self.config.layers)]
        self.cos, self.sin = _compute_rope_tables(self.config, self.embedding.dtype)
        self._slots = KVSlots(self.config.layers, self.config.kv_heads, self.config.head, dtype)

    def start(self, prefix: Prefix) -> SlotGroup:
        """Return a new group of one row after a prefix."""
        return SlotGroup(prefix)

    def prefill(self, prefix: Prefix | None, tokens: Sequence[int]) -> tuple[Prefix, Tensor]:
        """Return the prefix `prefix` extended by tokens, and the logits `(vocabulary,)` after the last token."""
        start = len(prefix.tokens) if prefix else 0
        count, shape = len(tokens), self.config
        size = (shape.layers, 2, shape.kv_heads, start + count, shape.head)
        cache = torch.empty(size, dtype=self.embedding.dtype)
        if prefix:
            cache[:, :, :, :start] = prefix.cache
        x = F.embedding(torch.tensor(tokens), self.embedding)
        cos, sin = self.cos[start : start + count, None], self.sin[start : start + count, None]
        mask = torch.ones(count, start + count, dtype=torch.bool).tril(start) if start else None
        for i, layer in enumerate(self.layers):
            q, k, v = self._compute_qkv(layer, x, cos, sin)
            cache[i, 0, :, start:] = k.transpose(0, 1)
            cache[i, 1, :, start:] = v.transpose(0, 1)
            repeats = shape.heads // shape.kv_heads
            keys, values = (half.repeat_interleave(repeats, 0)[None] for half in cache[i])
            attended = F.scaled_dot_product_attention(
                q.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None
            )
            x = self._apply_output_and_mlp(layer, x, attended[0].transpose(0, 1).reshape(count, -1))
        return Prefix((*(prefix.tokens if prefix else ()), *tokens), cache), self._compute_logits(x[-1:])[0]

    reads_drafts = True

    def step(self, groups: Sequence[SlotGroup], tokens: Sequence[int], counts: Sequence[int] | None = None) -> Tensor:
        """Append tokens to every row of every group, in order, and return the next logits `(tokens, vocabulary)`.

        `counts` are the numbers of tokens of the rows; None means one each. See `Decoder.step`.
        """
        left = iter(counts or [1] * len(tokens))
        group_counts = [[next(left) for _ in range(group.rows)] for group in groups]
        x = F.embedding(torch.tensor(tokens), self.embedding)
        positions = torch.tensor(
            [place for group, each in zip(groups, group_counts, strict=True) for place in group.find_positions(each)]
        )
        cos, sin = self.cos[positions, None], self.sin[positions, None]
        self._slots.allocate(groups, group_counts)
        for i, layer in enumerate(self.layers):
            q, k, v = self._compute_qkv(layer, x, cos, sin)
            x = self._apply_output_and_mlp(layer, x, self._slots.attend(i, q, k, v))
        return self._compute_logits(x)

    def _compute_qkv(self, layer: LlamaLayer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rotated queries, the rotated keys and the values: each `(tokens, heads, head)`."""
        shape = self.config
        projected = F.linear(self._rms_norm(x, layer.before), layer.qkv).view(len(x), -1, shape.head)
        rotated = projected[:, : shape.heads + shape.kv_heads]
        left, right = rotated.chunk(2, -1)
        rotated = rotated * cos + torch.cat([-right, left], -1) * sin
        return rotated[:, : shape.heads], rotated[:, shape.heads :], projected[:, shape.heads + shape.kv_heads :]

    def _apply_output_and_mlp(self, layer: LlamaLayer, x: Tensor, attended: Tensor) -> Tensor:
        x = x + F.linear(attended, layer.out)
        gate, up = F.linear(self._rms_norm(x, layer.between), layer.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, layer.down)

    def _rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.epsilon)

    def _compute_logits(self, x: Tensor) -> Tensor:
        return F.linear(self._rms_norm(x, self.norm), self.head).float()


def _build_layer(weights: dict[str, Tensor], name: str) -> LlamaLayer:
    def find(part: str) -> Tensor:
        return weights[f"{name}{part}.weight"]

    return LlamaLayer(
        qkv=torch.cat([find("self_attn.q_proj"), find("self_attn.k_proj"), find("self_attn.v_proj")]),
        out=find("self_attn.o_proj"),
        gate_up=torch.cat([find("mlp.gate_proj"), find("mlp.up_proj")]),
        down=find("mlp.down_proj"),
        before=find("input_layernorm"),
        between=find("post_attention_layernorm"),
    )


def _compute_rope_tables(shape: LlamaConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the rotary embedding for every position: each `(context, head)`."""
    frequencies = shape.theta ** -(torch.arange(0, shape.head, 2).float() / shape.head)
    angles = torch.outer(torch.arange(shape.context).float(), frequencies).repeat(1, 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)
