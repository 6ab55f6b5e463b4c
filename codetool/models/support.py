"""Which model architectures the code of this package can run, read from a model's `config.json`.

LlamaDecoder supports a subset of Llama, PackedModel and training support `CUSTOM_MASK_ARCHITECTURES`, and
TransformersDecoder supports every causal language model. None of them supports attention that is limited to a window,
because they share the keys and values of all preceding tokens between candidates or examples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError

CUSTOM_MASK_ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of `model_type` whose attention accepts a custom mask; tests compare them with transformers' forward pass."""
FULL_ATTENTION = "full_attention"
"""Name in `layer_types` of a layer that attends to all preceding tokens."""


def load_config(folder: Path) -> dict[str, Any]:
    """Return the content of a model folder's `config.json`."""
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def uses_full_attention(config: Mapping[str, Any]) -> bool:
    """Return whether every layer attends to all preceding tokens: no sliding window, no state space.

    `config` is a model's configuration as transformers completes it (`PretrainedConfig.to_dict()`), since
    `config.json` may leave out `layer_types`. Mistral has no `layer_types`; its window is `sliding_window`.
    """
    layer_types = set(config.get("layer_types") or [FULL_ATTENTION])
    has_window = config.get("model_type") == "mistral" and config.get("sliding_window") is not None
    return layer_types == {FULL_ATTENTION} and not has_window


def require_full_attention(config: Mapping[str, Any], folder: Path) -> None:
    """Raise ConfigError if the in-process policy cannot run the model because of its attention."""
    if not uses_full_attention(config):
        raise ConfigError(
            f"{folder} is a {config['model_type']} model with layers of other kinds than full attention; "
            "policy.backend=transformers does not read these. Choose policy.backend=vllm or policy.backend=endpoint."
        )


def require_custom_mask_support(config: Mapping[str, Any], folder: Path, user: str, remedy: str) -> None:
    """Raise ConfigError unless the model is one of `CUSTOM_MASK_ARCHITECTURES` with full attention.

    `user` says in the message which option refuses the model (`stage=train trains`), `remedy` what to do instead.
    """
    is_full = uses_full_attention(config)
    if config["model_type"] not in CUSTOM_MASK_ARCHITECTURES or not is_full:
        model = config["model_type"] if is_full else f"{config['model_type']} with sliding windows"
        raise ConfigError(
            f"{folder} is a {model} model; {user} {', '.join(CUSTOM_MASK_ARCHITECTURES)} with full attention. {remedy}"
        )


def is_supported_by_llama_decoder(folder: Path) -> bool:
    """Return whether `LlamaDecoder` computes the model exactly.

    It needs one `model.safetensors`, grouped-query attention sizes, the default rotary embedding, SiLU and no biases.
    """
    config = load_config(folder)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return bool(
        config.get("model_type") == "llama"
        and uses_full_attention(config)
        and "num_key_value_heads" in config
        and "rope_theta" in (config.get("rope_parameters") or config)
        and rope.get("rope_type", rope.get("type", "default")) == "default"
        and not (config.get("attention_bias") or config.get("mlp_bias"))
        and config.get("hidden_act", "silu") == "silu"
        and (folder / "model.safetensors").is_file()
    )
