"""The adapters that come with the package: others load them, and they are what our own engines read."""

from __future__ import annotations

import json

import torch
from transformers import AutoModelForCausalLM

from codetool.models.chat_template import ChatTokenizer
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.locate import ADAPTERS_FOLDER, find_or_build
from codetool.models.packed_model import PackedModel, PrefixGroup
from codetool.models.smollm2 import ensure_smollm2
from codetool.prm.label_tokens import find_label_tokens

CHAT = [{"role": "user", "content": "Question: Who directed Parasite?\n\n##Step 1: Find the film Parasite."}]
LARGEST = 12 * 2**20
"""Bytes that an adapter may have in the repository."""


def test_peft_and_our_engines_read_the_same() -> None:
    from peft import PeftModel  # takes seconds

    base = ensure_smollm2()
    tokens = ChatTokenizer(base).encode(CHAT)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for name in ("policy", "prm"):
        with torch.no_grad():
            bare = plain(torch.tensor([tokens])).logits[0, -1]
            adapted = PeftModel.from_pretrained(plain, ADAPTERS_FOLDER / f"smollm2_{name}")
            theirs = adapted(torch.tensor([tokens])).logits[0, -1]
            plain = adapted.unload()  # without the adapter
        assert (theirs - bare).abs().max() > 1, "the adapter changes nothing"
        adapter = find_or_build(name, "SmolLM2-135M-Instruct", ADAPTERS_FOLDER / f"smollm2_{name}").adapter
        _, ours = LlamaDecoder(base, torch.float32, adapter).prefill(None, tokens)
        assert torch.allclose(ours, theirs, atol=1e-3)
        labels = find_label_tokens(("yes", "no"), ChatTokenizer(base).tokenize, name)
        [[read]] = PackedModel(base, adapter, "float32", "cpu").forward([PrefixGroup((), [tokens])], labels)
        assert torch.allclose(torch.tensor(read.logits), theirs[list(labels)], atol=1e-3)


def test_each_is_small_and_has_a_card() -> None:
    for folder in ADAPTERS_FOLDER.iterdir():
        assert (folder / "adapter_model.safetensors").stat().st_size < LARGEST
        assert (folder / "README.md").read_text().startswith(f"# {folder.name}")
        assert json.loads((folder / "adapter_config.json").read_text())["r"] == 16
