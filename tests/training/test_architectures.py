"""The models that training takes: their logits are transformers' own, and it refuses all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.errors import ConfigError
from codetool.models.support import CUSTOM_MASK_ARCHITECTURES
from codetool.training.batch import build_batch
from codetool.training.packing import pack_examples
from codetool.training.sft_examples import SFTExample, Target
from codetool.training.trainable_model import TrainableModel, load_trainable_model

SMALL: dict[str, Any] = {
    "vocab_size": 60, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip
WITHOUT_WINDOW = {"mistral": {"sliding_window": None}}


def made(kind: str, folder: Path, **more: Any) -> Any:
    """A tiny model of an architecture, saved."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(SMALL | more))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    return model


def loaded(folder: Path) -> TrainableModel:
    tuning = validate(compose_all(["stage=train", "tuning=full"])[0]).tuning
    return load_trainable_model(folder, torch.float32, tuning, checkpointing=False)


@pytest.mark.parametrize("kind", CUSTOM_MASK_ARCHITECTURES)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    plain = made(kind, tmp_path, **WITHOUT_WINDOW.get(kind, {}))
    examples = [SFTExample("t", tokens, (Target(len(tokens) - 1),)) for tokens in ((5, 6, 7), (5, 6, 8, 9), (3, 4))]
    rows = pack_examples([examples], 100, share=True)
    trained = loaded(tmp_path).eval()
    with torch.no_grad():
        found = trained.logits(trained(build_batch(rows, 1.0)))
        ordered = sorted(examples, key=lambda each: each.tokens)
        expected = torch.stack([plain(torch.tensor([each.tokens])).logits[0, -1] for each in ordered])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("granite", {"logits_scaling": 4.0}),
        ("cohere", {"logit_scale": 0.25}),
        ("gemma2", {"final_logit_softcapping": 5.0}),
        ("phi", {}),  # whose head has a bias
        ("phi3", {"sliding_window": 4}),
        ("starcoder2", {"sliding_window": 4}),
        ("mistral", {"sliding_window": 4}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    transformers.AutoConfig.for_model(kind, **(SMALL | more)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"is a {kind}.* model; stage=train trains llama, mistral, qwen2, qwen3 "):
        loaded(tmp_path)
