"""Both decoders against the models they read, with and without an adapter; the files are small and random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Weights
from codetool.models.decoder import Decoder, load
from codetool.models.llama_decoder import Llama, readable
from codetool.models.lora import merge
from codetool.models.transformers_decoder import General

TOKENS = [7, 93, 2, 41, 41, 60, 5, 18, 77, 30]
SIZES: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip


def made(folder: Path, kind: str, **changes: Any) -> Any:
    """A random model, saved in the folder."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.3)  # a fresh model's are zero, which would hide that they are left out
    model.save_pretrained(folder)
    return model


def adapter(folder: Path, rank: int = 4, **changes: Any) -> Path:
    """A random LoRA adapter for two projections of every layer, in PEFT's format."""
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


def expected(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1]


@pytest.fixture(params=["Llama", "Qwen2"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(kind: str, tmp_path: Path) -> tuple[Decoder, Any]:
    model = made(tmp_path / kind, kind)
    return load(Weights(tmp_path / kind, None, "float32")), model


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_llama_is_read_by_our_own_decoder_and_another_family_by_the_general_one(kind: str, tmp_path: Path) -> None:
    made(tmp_path / kind, kind)
    decoder = load(Weights(tmp_path / kind, None, "float32"))
    assert isinstance(decoder, Llama if kind == "Llama" and not torch.cuda.is_available() else General)


SCALED = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


@pytest.mark.parametrize("changes", [{"attention_bias": True}, {"rope_parameters": SCALED}])
def test_a_llama_of_another_build_is_left_to_the_general_decoder(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = made(tmp_path / "m", "Llama", **changes)
    decoder = load(Weights(tmp_path / "m", None, "float32"))
    assert isinstance(decoder, General)
    close(decoder.prefill(None, TOKENS)[1], expected(model, TOKENS))


def test_a_prompt_in_one_and_in_pieces(pair: tuple[Decoder, Any]) -> None:
    decoder, model = pair
    whole, logits = decoder.prefill(None, TOKENS)
    close(logits, expected(model, TOKENS))
    part, _ = decoder.prefill(None, TOKENS[:4])
    pieces, logits = decoder.prefill(part, TOKENS[4:])
    close(logits, expected(model, TOKENS))
    assert pieces.tokens == whole.tokens == tuple(TOKENS)


def test_candidates_grow_as_if_alone_and_the_prefix_stays(pair: tuple[Decoder, Any]) -> None:
    decoder, model = pair
    prefixes = [decoder.prefill(None, TOKENS[:length])[0] for length in (8, 3)]
    groups = [decoder.start(prefixes[0]), decoder.start(prefixes[1])]
    groups[0].keep([0, 0, 0])
    close(decoder.step(groups, [1, 2, 3, 4])[3], expected(model, [*TOKENS[:3], 4]))
    groups[0].keep([0, 2])
    logits = decoder.step(groups, [5, 6, 7])
    for row, written in enumerate([[*TOKENS[:8], 1, 5], [*TOKENS[:8], 3, 6], [*TOKENS[:3], 4, 7]]):
        close(logits[row], expected(model, written))
    close(decoder.prefill(prefixes[0], TOKENS[8:])[1], expected(model, TOKENS))


@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}])
def test_an_adapter_is_added_as_its_inventors_have_it(kind: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    model = made(tmp_path / kind, kind)
    folder = adapter(tmp_path / "adapter", **changes)
    decoder = load(Weights(tmp_path / kind, folder, "float32"))
    before = expected(model, TOKENS)
    from safetensors.torch import load_file

    factors = load_file(folder / "adapter_model.safetensors")
    scale = 8 / 4 ** (0.5 if changes else 1)
    for name, module in model.named_modules():
        if (down := factors.get(f"base_model.model.{name}.lora_A.weight")) is not None:
            up = factors[f"base_model.model.{name}.lora_B.weight"]
            module.register_forward_hook(lambda _, x, y, a=down, b=up: y + scale * (x[0] @ a.T @ b.T))
    after = expected(model, TOKENS)
    assert (after - before).abs().max() > 0.1
    close(decoder.prefill(None, TOKENS)[1], after)


def test_what_is_no_plain_adapter_is_refused(tmp_path: Path) -> None:
    weights = {f"model.layers.{i}.self_attn.{m}.weight": torch.zeros(48, 48) for i in range(3) for m in ("q_proj",)}
    with pytest.raises(ConfigError, match="use_dora=True"):
        merge(weights, adapter(tmp_path / "dora", use_dora=True))
    with pytest.raises(ConfigError, match="another model"):
        merge(weights, adapter(tmp_path / "other"))
    (tmp_path / "other" / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"adapter_model\.safetensors"):
        merge(weights, tmp_path / "other")


def test_sliding_windows_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "m", "Mistral", sliding_window=4)
    with pytest.raises(ConfigError, match=r"policy\.backend=vllm"):
        load(Weights(tmp_path / "m", None, "float32"))


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_half_downloaded_model_is_told(kind: str, tmp_path: Path) -> None:
    made(tmp_path / kind, kind)
    halved(tmp_path / kind / "model.safetensors")
    with pytest.raises(MissingError, match="does not hold a model that can be loaded"):
        load(Weights(tmp_path / kind, None, "float32"))


def test_a_half_downloaded_adapter_is_told(tmp_path: Path) -> None:
    halved(adapter(tmp_path / "lora") / "adapter_model.safetensors")
    with pytest.raises(MissingError, match=r"adapter_model\.safetensors cannot be read"):
        merge({}, tmp_path / "lora")


@pytest.mark.parametrize(
    ("changes", "whether"),
    [
        ({}, True),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 4.0}, "rope_theta": 1e4}, False),
        ({"num_key_value_heads": None}, False),
        ({"rope_parameters": {"rope_type": "default"}}, False),
        ({"attention_bias": True}, False),
    ],
)
def test_models_that_llama_would_read_wrongly_are_left_to_transformers(
    tmp_path: Path, changes: dict[str, Any], whether: bool
) -> None:
    made(tmp_path, "Llama")
    config = json.loads((tmp_path / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert readable(tmp_path) is whether
