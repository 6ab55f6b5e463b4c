"""Tasks, paths and the composed configuration that the policies' tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from paths import SEARCH

from codetool.prompts.templates import StepPrompt
from codetool.types import Task

CONF = Path(__file__).parents[2] / "conf"

@pytest.fixture
def task() -> Task:
    return Task(id="t1", query="When did The Matrix come out?", tools=(SEARCH,))


@pytest.fixture
def prompt() -> StepPrompt:
    return StepPrompt(instruction="Solve {{ query }}", result="{{ output }}{{ error }}", observation=100, response=100)


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., DictConfig]:
    """The policy and prompt nodes as a run would compose them, without the other groups."""
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
