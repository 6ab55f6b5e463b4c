"""Merge LoRA adapters in PEFT's format (Hu et al. 2021, arXiv 2106.09685) into their base, or load them for training.

Limits: plain LoRA of linear layers, with or without rank-stabilised scaling; no DoRA, no biases, no fully trained
layers. Merging in bfloat16 rounds the weights, so logits differ slightly from those of the unmerged adapter.
"""

from __future__ import annotations

import json
import math
from collections.abc import MutableMapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from codetool.errors import ConfigError, MissingError

PEFT_PREFIX = "base_model.model."
UNSUPPORTED = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices")


def merge_adapter(weights: MutableMapping[str, Tensor], adapter: Path) -> None:
    """Add the adapter's `scaling · B A` to each adapted weight, in place of the old tensor; data types do not change.

    `weights` are a model's tensors by name. Raises MissingError for missing or damaged files, and ConfigError for an
    unsupported adapter or one for another model.
    """
    factors = _load_factors(adapter)
    scaling = _load_scaling(adapter)
    for name in sorted({name.rpartition(".lora_")[0] for name in factors}):
        target = f"{name.removeprefix(PEFT_PREFIX)}.weight"
        down, up = factors[f"{name}.lora_A.weight"], factors[f"{name}.lora_B.weight"]
        weight = weights.get(target)
        if weight is None or weight.shape != (up.shape[0], down.shape[1]):
            raise ConfigError(f"{adapter} is an adapter for another model: {target} does not fit.")
        delta = scaling * (up.float() @ down.float()).to(weight.device)
        weights[target] = (weight.float() + delta).to(weight.dtype)


def load_for_training(model: nn.Module, adapter: Path) -> None:
    """Copy an adapter's weights into the new adapter of a PEFT model, to continue its training.

    Raises MissingError for missing or damaged files, and ConfigError for an unsupported adapter, one for another model,
    or one whose rank, scaling or layers differ from the new adapter's.
    """
    factors, scaling = _load_factors(adapter), _load_scaling(adapter)
    new_weights = {
        name.replace(".default.", "."): tensor for name, tensor in model.named_parameters() if "lora_" in name
    }
    new_scaling = next(module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A"))
    fits = {name: tensor.shape for name, tensor in new_weights.items()} == {
        name: tensor.shape for name, tensor in factors.items()
    }
    if not fits or not math.isclose(scaling, new_scaling):
        raise ConfigError(
            f"tuning.init_adapter={adapter} is not of the shape that is trained: set tuning.rank, tuning.alpha and "
            "tuning.modules to what its adapter_config.json has, and start from the model it was made for."
        )
    with torch.no_grad():
        for name, weight in new_weights.items():
            weight.copy_(factors[name])


def _load_factors(adapter: Path) -> dict[str, Tensor]:
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        raise MissingError(f"{adapter} has no {file.name}.")
    try:
        factors = load_file(file)
    except SafetensorError as error:
        raise MissingError(f"{file} cannot be read: {error}. Is it complete?") from error
    unsupported = [name for name in factors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if unsupported:
        raise _unsupported_error(adapter, f"trains {unsupported[0]} otherwise")
    return factors


def _load_scaling(adapter: Path) -> float:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    for name in UNSUPPORTED:
        if config.get(name):
            raise _unsupported_error(adapter, f"has {name}={config[name]!r}")
    rank = config["r"]
    return float(config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _unsupported_error(adapter: Path, what: str) -> ConfigError:
    return ConfigError(f"{adapter} is no plain LoRA adapter: it {what}. Merge it into its base, or let vLLM serve it.")
