"""Small models with random weights, each with a tokenizer of its own that was trained on a few lines: no hub."""

import json
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

Kind = Literal["llama", "qwen2"]
KINDS: tuple[Kind, ...] = ("llama", "qwen2")
WORDS = [
    "Services: GET /search/movie (query, page) Search for movies by their title. Question: who directed it?",
    "##Step 1: find the film. Python Code: import requests print(found) [Step 1 Finished] [All Finished]",
    "You judge the steps of a program that is written piece by piece. yes no yes no yes no Observation: 603",
]
DECODER_SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2's tokenizer cuts a text; transformers cuts so for every Qwen2 model, whatever its tokenizer.json says."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level pieces, ChatML, `yes` and `no` single tokens."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False)
    made.train_from_iterator([*WORDS, *["yes\nno\n"] * 20], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", chat_template=TEMPLATE)


def save(kind: Kind, folder: Path, seed: int = 0, context: int = 8192) -> Any:
    """The model, after `folder` holds it with its tokenizer. Its labels' logits vary widely with what it reads."""
    words = tokenizer()
    words.save_pretrained(folder)
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[kind]
    torch.manual_seed(seed)
    made = model(
        config(
            vocab_size=len(words), hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=kind == "llama",
            initializer_range=0.2, eos_token_id=words.eos_token_id, bos_token_id=None, pad_token_id=None,
        )
    ).eval()  # fmt: skip
    made.save_pretrained(folder)
    return made


def save_random_model(folder: Path, kind: str, **changes: Any) -> Any:
    """Save a random model of a transformers class (`Llama`, `Qwen2`, …) without a tokenizer, and return it."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**DECODER_SIZES | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.3)  # a fresh model's are zero, which would hide that they are left out
    model.save_pretrained(folder)
    return model


def save_random_adapter(folder: Path, rank: int = 4, **changes: Any) -> Path:
    """Save a random LoRA adapter for two projections of every layer of such a model, in PEFT's format."""
    factors = {}
    generator = torch.Generator().manual_seed(5)
    for layer in range(3):
        for module, outputs in (("q_proj", 48), ("v_proj", 16)):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            factors[f"{name}.lora_A.weight"] = torch.randn(rank, 48, generator=generator) / 7
            factors[f"{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator) / 7
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": 8} | changes))
    return folder
