"""Load a causal language model of transformers for training, with all weights trainable or with a LoRA adapter.

Limits: the architecture must have full causal attention, since examples share a sequence, and its logits must be the
last hidden state times the head's weight, without bias, scale or cap. Other architectures are refused.
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
from codetool.models import lora
from codetool.models.support import require_custom_mask_support
from codetool.training import tree_attention
from codetool.training.batch import TrainBatch
from codetool.training.tree_attention import AttentionMask
from codetool.training.tuning import TuningConfig


class TrainableModel(nn.Module):  # type: ignore[misc]
    """A causal language model that computes logits only at the target positions of a batch."""

    def __init__(self, model: Any, mask: AttentionMask = "dense") -> None:
        """Wrap `model`, a model of transformers or of PEFT. `mask` is used on devices other than a CPU."""
        super().__init__()
        self.model, self.mask = model, mask

    def forward(self, batch: TrainBatch) -> Tensor:
        """Return the hidden states at the target positions of the batch, after the last norm: `(targets, hidden)`."""
        pack = tree_attention.build_tree_mask(batch.positions, batch.subtree_ends, self.mask)
        body = self.unwrapped.base_model
        hidden = body(input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, pack=pack)
        target_states: Tensor = hidden.last_hidden_state.flatten(0, 1)[batch.target_positions]
        return target_states

    def logits(self, hidden: Tensor, tokens: tuple[int, int] | None = None) -> Tensor:
        """Return the logits of two tokens, or of the whole vocabulary if `tokens` is None: `(targets, tokens)`."""
        head = self.unwrapped.get_output_embeddings().weight
        return F.linear(hidden, head if tokens is None else head[list(tokens)])

    @property
    def unwrapped(self) -> Any:
        """The model of transformers, in whose layers PEFT has placed the adapter if there is one."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model


def load_initial_model(
    base: Path,
    tuning: TuningConfig,
    *,
    init_adapter: Path | None = None,
    vocabulary: int = 0,
    seed: int,
    checkpointing: bool = False,
    mask: AttentionMask = "dense",
) -> TrainableModel:
    """Load the model that a training begins with; its weights are the same in every process and at every call.

    `init_adapter` is the folder of the adapter that training continues, None for a new one. `vocabulary` is the number
    of tokens for which the model must have embedding rows, 0 for its own. Raises as `load_trainable_model`.
    """
    torch.manual_seed(seed)
    trained = load_trainable_model(
        base, getattr(torch, tuning.base_dtype), tuning, checkpointing=checkpointing, mask=mask
    )
    if init_adapter is not None:
        lora.load_for_training(trained.model, init_adapter)
    if vocabulary > trained.unwrapped.get_input_embeddings().num_embeddings:
        trained.unwrapped.resize_token_embeddings(vocabulary)
    return trained


def load_trainable_model(
    folder: Path, dtype: torch.dtype, tuning: TuningConfig, *, checkpointing: bool, mask: AttentionMask = "dense"
) -> TrainableModel:
    """Load a model folder in Hugging Face format for training; only the trained weights require gradients.

    `dtype` is the data type of the weights, `checkpointing` recomputes activations in the backward pass, and `mask` is
    the attention mask on devices other than a CPU. Raises MissingError for damaged files, and ConfigError for an
    unsupported architecture or `tuning.modules` that do not fit.
    """
    quantization = {"quantization_config": _make_4bit_config()} if tuning.method == "qlora" else {}
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
            folder,
            dtype=dtype,
            attn_implementation=tree_attention.ATTENTION_NAME,
            local_files_only=True,
            **quantization,
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
    return TrainableModel(model.train(), mask)  # transformers loads a model for use, its dropout off


def _make_4bit_config() -> Any:
    """Return QLoRA's 4-bit quantization (Dettmers et al. 2023, arXiv 2305.14314).

    Raises MissingError if bitsandbytes is not installed.
    """
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
