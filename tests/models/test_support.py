"""Which architectures each loader accepts, and how it refuses the others."""

from pathlib import Path
from typing import Any

import pytest
import transformers

from codetool.errors import ConfigError
from codetool.models.support import (
    CUSTOM_MASK_ARCHITECTURES,
    require_custom_mask_support,
    require_full_attention,
    uses_full_attention,
)


def complete_config(kind: str, **changes: Any) -> dict[str, Any]:
    return dict(transformers.AutoConfig.for_model(kind, **changes).to_dict())


@pytest.mark.parametrize("kind", CUSTOM_MASK_ARCHITECTURES)
def test_supported_architectures_have_full_attention_without_a_window(kind: str) -> None:
    config = complete_config(kind, **({"sliding_window": None} if kind == "mistral" else {}))
    assert uses_full_attention(config)
    require_custom_mask_support(config, Path("m"), user="it reads", remedy="")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mistral", {"sliding_window": 4}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ],
)
def test_a_window_is_refused_by_every_loader(kind: str, changes: dict[str, Any]) -> None:
    config = complete_config(kind, **changes)
    assert not uses_full_attention(config)
    with pytest.raises(ConfigError, match=f"m is a {kind} model with layers of other kinds than full attention"):
        require_full_attention(config, Path("m"))
    with pytest.raises(ConfigError, match=f"m is a {kind} with sliding windows model; it reads llama.* Do that"):
        require_custom_mask_support(config, Path("m"), user="it reads", remedy="Do that.")


def test_another_architecture_is_refused_where_the_mask_is_ours() -> None:
    config = complete_config("gpt2")
    assert uses_full_attention(config)
    with pytest.raises(ConfigError, match="m is a gpt2 model; it reads llama, mistral, qwen2, qwen3 with"):
        require_custom_mask_support(config, Path("m"), user="it reads", remedy="")
