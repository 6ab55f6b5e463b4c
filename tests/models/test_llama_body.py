"""Our layers of a Llama give exactly what transformers' give, with and without a cached prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import save_random_adapter, save_random_model

from codetool.model_types import Precision
from codetool.models import packed_model
from codetool.models.packed_model import PackedModel, PackedOutput, PrefixGroup


def compute_twice(model: PackedModel) -> list[PackedOutput]:
    """Return the outputs of a text and of two that continue it."""
    with torch.inference_mode():
        [[stem]] = model.forward([PrefixGroup((), [range(5, 40)])], (5, 6))
        [ends] = model.forward([PrefixGroup([stem.cache], [[1, 2, 3], [9, 8]])], (5, 6))
    return [stem, *ends]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_scores_and_caches_are_those_of_transformers(
    tmp_path: Path, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random_model(tmp_path / "base", "Llama")
    adapter = save_random_adapter(tmp_path / "adapter")
    own = PackedModel(tmp_path / "base", adapter, precision, "cpu")
    monkeypatch.setattr(packed_model, "is_supported_by_llama_decoder", lambda folder: False)
    reference = PackedModel(tmp_path / "base", adapter, precision, "cpu")
    assert own.context == reference.context
    for found, expected in zip(compute_twice(own), compute_twice(reference), strict=True):
        assert found.logits == expected.logits
        assert torch.equal(found.cache, expected.cache)
