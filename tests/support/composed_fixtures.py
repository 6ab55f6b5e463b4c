"""The fixture `composed`: the policy and prompt nodes of the configuration, without the other groups."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose the policy and prompt nodes with overrides, as a run would."""
    (tmp_path / "config.yaml").write_text(
        f"hydra:\n  searchpath: [file://{CONF}]\n"
        "defaults:\n  - policy: openai\n  - _self_\nbenchmark:\n  observation: 1500\n"
    )

    def compose_with(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            config = compose("config", list(overrides))
        OmegaConf.resolve(config)
        return config

    return compose_with
