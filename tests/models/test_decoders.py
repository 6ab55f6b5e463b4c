"""Both decoders against the models they read, with and without an adapter; the files are small and random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_random_adapter, save_random_model

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Weights
from codetool.models.decoder import Decoder, load_decoder
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.lora import merge_adapter
from codetool.models.support import is_supported_by_llama_decoder
from codetool.models.transformers_decoder import TransformersDecoder

TOKENS = [7, 93, 2, 41, 41, 60, 5, 18, 77, 30]


def expected(model: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0, -1]


@pytest.fixture(params=["Llama", "Qwen2"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(kind: str, tmp_path: Path) -> tuple[Decoder, Any]:
    model = save_random_model(tmp_path / kind, kind)
    return load_decoder(Weights(tmp_path / kind, None, "float32")), model


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_llama_is_read_by_our_own_decoder_and_another_family_by_the_general_one(kind: str, tmp_path: Path) -> None:
    save_random_model(tmp_path / kind, kind)
    decoder = load_decoder(Weights(tmp_path / kind, None, "float32"))
    assert isinstance(
        decoder, LlamaDecoder if kind == "Llama" and not torch.cuda.is_available() else TransformersDecoder
    )


SCALED = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


@pytest.mark.parametrize("changes", [{"attention_bias": True}, {"rope_parameters": SCALED}])
def test_a_llama_of_another_build_is_left_to_the_general_decoder(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = save_random_model(tmp_path / "m", "Llama", **changes)
    decoder = load_decoder(Weights(tmp_path / "m", None, "float32"))
    assert isinstance(decoder, TransformersDecoder)
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
    groups[0].select_rows([0, 0, 0])
    close(decoder.step(groups, [1, 2, 3, 4])[3], expected(model, [*TOKENS[:3], 4]))
    groups[0].select_rows([0, 2])
    logits = decoder.step(groups, [5, 6, 7])
    for row, written in enumerate([[*TOKENS[:8], 1, 5], [*TOKENS[:8], 3, 6], [*TOKENS[:3], 4, 7]]):
        close(logits[row], expected(model, written))
    close(decoder.prefill(prefixes[0], TOKENS[8:])[1], expected(model, TOKENS))


@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}])
def test_an_adapter_is_added_as_its_inventors_have_it(kind: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    model = save_random_model(tmp_path / kind, kind)
    folder = save_random_adapter(tmp_path / "adapter", **changes)
    decoder = load_decoder(Weights(tmp_path / kind, folder, "float32"))
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
        merge_adapter(weights, save_random_adapter(tmp_path / "dora", use_dora=True))
    with pytest.raises(ConfigError, match="another model"):
        merge_adapter(weights, save_random_adapter(tmp_path / "other"))
    (tmp_path / "other" / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"adapter_model\.safetensors"):
        merge_adapter(weights, tmp_path / "other")


def test_sliding_windows_are_refused(tmp_path: Path) -> None:
    save_random_model(tmp_path / "m", "Mistral", sliding_window=4)
    with pytest.raises(ConfigError, match=r"policy\.backend=vllm"):
        load_decoder(Weights(tmp_path / "m", None, "float32"))


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_a_half_downloaded_model_is_told(kind: str, tmp_path: Path) -> None:
    save_random_model(tmp_path / kind, kind)
    halved(tmp_path / kind / "model.safetensors")
    with pytest.raises(MissingError, match="does not hold a model that can be loaded"):
        load_decoder(Weights(tmp_path / kind, None, "float32"))


def test_a_half_downloaded_adapter_is_told(tmp_path: Path) -> None:
    halved(save_random_adapter(tmp_path / "lora") / "adapter_model.safetensors")
    with pytest.raises(MissingError, match=r"adapter_model\.safetensors cannot be read"):
        merge_adapter({}, tmp_path / "lora")


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
    save_random_model(tmp_path, "Llama")
    config = json.loads((tmp_path / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert is_supported_by_llama_decoder(tmp_path) is whether
