"""The model that is trained: a causal language model of transformers, whole or with a LoRA adapter beside it.

Limits: architectures whose attention is causal over everything before it, since examples share a sequence, and whose
logits are the last hidden state times the head's weight, with no bias, scale or cap; others are refused.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from codetool.errors import ConfigError, MissingError
from codetool.models.support import require_custom_mask_support
from codetool.training import tree_attention
from codetool.training.batch import TrainBatch
from codetool.training.tuning import TuningConfig


class TrainableModel(nn.Module):  # type: ignore[misc]
    """A causal language model that gives logits only where it is asked."""

    def __init__(self, model: Any) -> None:
        """`model` is transformers' or PEFT's."""
        super().__init__()
        self.model = model

    def forward(self, batch: TrainBatch) -> Tensor:
        """The hidden states `(targets, hidden)` at the places of the batch, after the last norm."""
        pack = tree_attention.build_tree_mask(batch.positions, batch.subtree_ends)
        body = self.unwrapped.base_model
        hidden = body(input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, pack=pack)
        found: Tensor = hidden.last_hidden_state.flatten(0, 1)[batch.target_positions]
        return found

    def logits(self, hidden: Tensor, tokens: tuple[int, int] | None = None) -> Tensor:
        """The logits of these tokens, of all without any: `(targets, tokens)`."""
        head = self.unwrapped.get_output_embeddings().weight
        return F.linear(hidden, head if tokens is None else head[list(tokens)])

    @property
    def unwrapped(self) -> Any:
        """Transformers' model, whose layers an adapter has changed in place."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model


def load_trainable_model(
    folder: Path, dtype: torch.dtype, tuning: TuningConfig, *, checkpointing: bool
) -> TrainableModel:
    """The model of a folder in Hugging Face format, its trained weights requiring gradients.

    Raises MissingError for damaged files, ConfigError for an architecture that cannot be trained so.
    """
    more = {"quantization_config": _make_4bit_config()} if tuning.method == "qlora" else {}
    transformers.utils.logging.disable_progress_bar()
    tree_attention.register_tree_attention()
    try:
        require_custom_mask_support(
            AutoConfig.from_pretrained(folder, local_files_only=True).to_dict(),
            folder,
            user="stage=train trains",
            remedy="Name such a model with prm.model or policy.model.",
        )
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=tree_attention.ATTENTION_NAME, local_files_only=True, **more
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise MissingError(f"{folder} does not hold a model that can be loaded: {error}") from error
    model.config.use_cache = False
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    if tuning.method != "full":
        try:
            model = get_peft_model(model, _make_lora_config(tuning), autocast_adapter_dtype=True)
        except ValueError as error:
            raise ConfigError(f"tuning.modules={tuning.modules!r} does not fit {folder}: {error}") from error
    return TrainableModel(model.train())  # transformers loads a model for use, its dropout off


def _make_4bit_config() -> Any:
    """How weights are quantised (Dettmers et al. 2023, arXiv 2305.14314). Raises MissingError without the package."""
    if find_spec("bitsandbytes") is None:
        raise MissingError("tuning=qlora needs a package: pip install bitsandbytes; or choose tuning=lora")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _make_lora_config(tuning: TuningConfig) -> LoraConfig:
    modules = tuning.modules if isinstance(tuning.modules, str) else list(tuning.modules)
    return LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,  # type: ignore[arg-type]  # it is only divided
        lora_dropout=tuning.dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )
