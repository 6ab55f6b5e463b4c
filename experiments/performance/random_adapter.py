"""Create random LoRA adapters, to measure and test the servers that load them."""

from __future__ import annotations

import json
from pathlib import Path


def random_adapter(folder: Path, base: Path, seed: int, *, rank: int = 8) -> Path:
    """Create a folder with a random PEFT adapter for the attention of a single-file model, and return it.

    The adapter is strong enough to change the output of the model.
    """
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if "self_attn" in name and name.endswith("_proj.weight"):
            place = f"base_model.model.{name.removesuffix('.weight')}"
            factors[f"{place}.lora_A.weight"] = torch.randn(rank, weight.shape[1], generator=generator) / 16
            factors[f"{place}.lora_B.weight"] = torch.randn(weight.shape[0], rank, generator=generator) / 16
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank, "bias": "none",
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(factors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
