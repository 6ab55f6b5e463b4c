"""What training has made, as others load it: transformers, PEFT, our own scoring and writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from peft import PeftModel
from safetensors import SafetensorError
from training_jobs import config, job, process_file, transcripts_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from codetool.errors import ConfigError, MissingError, WriteError
from codetool.models.chat_template import ChatTokenizer
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.packed_model import PackedModel, PrefixGroup
from codetool.training.export import _write_folder, export, export_merged
from codetool.training.new_label_tokens import find_untrained_tokens
from codetool.training.run_training import run_training

LABELS = (260, 259)


class Nobody:
    def updated(self, line: Any) -> None: ...
    def validated(self, line: Any) -> None: ...
    def stopping(self) -> None: ...


def made(kind: tiny_models.Kind, folder: Path, *words: str, base: str = "somebody/tiny") -> tuple[Any, Path]:
    """A trained job and the folder that was exported."""
    tiny_models.save(kind, folder / "base")
    data = process_file(folder / "process.jsonl", 6)
    settings = config(folder / "base", data, folder, "optimizer.lr=1e-2", *words)
    run = job(settings, folder / "run")
    run_training(run, Nobody(), None)
    return run, export(run, run.checkpoints / "last.ckpt", base, None)


def logits(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1].float()


def adapted(base: Path, adapter: Path | None, tokens: list[int]) -> torch.Tensor:
    """The logits of transformers' model with PEFT's adapter."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return logits(PeftModel.from_pretrained(plain, adapter) if adapter else plain, tokens)


def scored(base: Path, adapter: Path | None, tokens: list[int], device: str = "cpu") -> torch.Tensor:
    """The labels' logits as the PRM in process reads them."""
    [[read]] = PackedModel(base, adapter, "float32", device).forward([PrefixGroup((), [tokens])], LABELS)
    return torch.tensor(read.logits)


@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_an_adapter_is_the_same_everywhere(kind: tiny_models.Kind, tmp_path: Path) -> None:
    run, adapter = made(kind, tmp_path)
    tokens = ChatTokenizer(run.base).encode([{"role": "user", "content": "Question: who directed it?"}])
    plain = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32)
    before = logits(plain, tokens)
    peft = logits(PeftModel.from_pretrained(plain, adapter), tokens)
    assert (peft - before).abs().max() > 1e-2
    assert torch.allclose(scored(run.base, adapter, tokens), peft[list(LABELS)], atol=1e-5)
    merged = AutoModelForCausalLM.from_pretrained(export_merged(run, adapter), dtype=torch.float32)
    assert torch.allclose(logits(merged, tokens), peft, atol=1e-5)
    if kind == "llama":
        _, written = LlamaDecoder(run.base, torch.float32, adapter).prefill(None, tokens)
        assert torch.allclose(written, peft, atol=1e-5)


@pytest.mark.parametrize("target", ["prm", "policy"])
def test_training_goes_on_from_an_adapter(target: str, tmp_path: Path) -> None:
    first, adapter = made("llama", tmp_path)
    data = {"prm": process_file, "policy": transcripts_file}[target](tmp_path / "more.jsonl", 6)
    words = (f"train.target={target}", f"tuning.init_adapter={adapter}", "optimizer.lr=1e-6")
    run = job(config(first.base, data, tmp_path, *words), tmp_path / "more")
    tokens = ChatTokenizer(run.base).encode([{"role": "user", "content": "Question: who directed it?"}])
    untouched, before = adapted(run.base, None, tokens), adapted(run.base, adapter, tokens)
    run_training(run, Nobody(), None)
    after = adapted(run.base, export(run, run.checkpoints / "last.ckpt", "somebody/tiny", None), tokens)
    assert (before - untouched).abs().max() > 1e-2
    assert torch.allclose(after, before, atol=1e-3) and not torch.equal(after, before)


@pytest.mark.parametrize("word", ["tuning.rank=8", "tuning.alpha=16", "tuning.modules=[q_proj]"])
def test_an_adapter_of_another_shape_is_no_start(word: str, tmp_path: Path) -> None:
    first, adapter = made("llama", tmp_path)
    words = (f"tuning.init_adapter={adapter}", word)
    run = job(config(first.base, tmp_path / "process.jsonl", tmp_path, *words), tmp_path / "more")
    with pytest.raises(ConfigError, match=r"set tuning\.rank, tuning\.alpha and tuning\.modules"):
        run.load()


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("tuning.base_dtype=bfloat16", torch.bfloat16),
        ("trainer.precision=bf16-mixed", torch.bfloat16),
        ("trainer.precision=32-true", torch.float32),
    ],
)
def test_an_adapter_names_its_base_and_has_the_precision(word: str, dtype: torch.dtype, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    _, adapter = made("llama", tmp_path, word)
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "somebody/tiny"
    weights = load_file(adapter / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {dtype}
    assert all(".lora_" in name for name in weights)


@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_a_whole_model_is_the_same_everywhere(kind: tiny_models.Kind, tmp_path: Path) -> None:
    run, folder = made(kind, tmp_path, "tuning=full", "optimizer.lr=1e-3")
    chat = [{"role": "user", "content": "Question: who directed it?"}]
    tokens = ChatTokenizer(folder).encode(chat)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] == tokens
    plain = logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tokens)
    assert torch.allclose(scored(folder, None, tokens), plain[list(LABELS)], atol=1e-5)
    assert (logits(AutoModelForCausalLM.from_pretrained(run.base), tokens) - plain).abs().max() > 1e-2


def test_new_labels_are_tokens_of_the_exported_model_alone(tmp_path: Path) -> None:
    from codetool.stages.train import train_dataset

    tiny_models.save("llama", tmp_path / "base")
    data = process_file(tmp_path / "process.jsonl", 6)
    words = ("train.add_label_tokens=true", "tuning=full", "optimizer.lr=1e-2", "prm.labels=['<more>','<less>']")
    settings = config(tmp_path / "base", data, tmp_path, *words)
    run = job(settings, tmp_path / "run")
    labels = train_dataset.encode_labels(settings, run.base)
    assert labels is not None
    run_training(run, Nobody(), None)
    folder = export(run, run.checkpoints / "last.ckpt", "base", labels.tokenizer)
    ids = [ChatTokenizer(folder).tokenize(word) for word in ("<more>", "<less>")]
    assert ids == [[labels.tokens[0]], [labels.tokens[1]]]
    assert AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["<more>", "<less>"]) == list(labels.tokens)
    assert len(ChatTokenizer(run.base).tokenize("<more>")) > 1
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    [[read]] = PackedModel(folder, None, "float32", "cpu").forward([PrefixGroup((), [[5, 6]])], labels.tokens)
    assert torch.allclose(torch.tensor(read.logits), logits(model, [5, 6])[list(labels.tokens)], atol=1e-5)


def test_tokens_that_were_never_trained_are_found(tmp_path: Path) -> None:
    model = tiny_models.save("llama", tmp_path)
    assert find_untrained_tokens(tmp_path, LABELS) == []
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        rows[259] *= 1e-3
        rows[260] = rows[261]
    model.save_pretrained(tmp_path)
    assert find_untrained_tokens(tmp_path, [258, 259, 260]) == [259, 260]


@pytest.mark.parametrize("file", ["model.safetensors", "model.safetensors.index.json"])
def test_damaged_files_are_told_of(file: str, tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path)
    (tmp_path / file).write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(MissingError, match=rf"{file} cannot be read.*Is the download complete"):
        find_untrained_tokens(tmp_path, LABELS)


def test_a_full_disk_leaves_no_part_of_a_model(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "part").write_bytes(b"x")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    for kept in (False, True):
        if kept:
            (tmp_path / "adapter").mkdir()
        with (
            pytest.raises(WriteError, match=r"adapter cannot be written: No space left on device\. Make room"),
            _write_folder(tmp_path / "adapter") as folder,
        ):
            fill(folder)
        assert [path.name for path in tmp_path.iterdir()] == ["adapter"] * kept
