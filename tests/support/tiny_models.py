"""Small models with random weights, each with a tokenizer of its own that was trained on a few lines: no hub."""

from pathlib import Path
from typing import Any, Literal

import torch
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
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
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
