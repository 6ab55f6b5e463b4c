"""The name of a training's folder, and the commit of a base model of a hub that the folder recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.models.hub_model import HubModel
from codetool.runs.identity import select_identity_settings
from codetool.stages.hub_models import find_hub_models, keep_recorded_commits
from codetool.stages.train.data_files import check_sources


def find_base_hub_model(config: RunConfig, choices: Mapping[str, str]) -> tuple[RunConfig, dict[str, HubModel]]:
    """Return the settings with the commit that a folder of this training recorded, and the base model if a hub has it.

    It is a folder of this training if seed, data settings, tuning, optimizer and scheduler are the same. What can be
    checked without the model is checked before it is downloaded. Raises ConfigError and MissingError.
    """
    option: Any = getattr(config, config.train.target)
    if hasattr(option, "check_trainable"):
        option.check_trainable()
    blocks = ("stage", "seed", "train", "objective", "tuning", "optimizer", "scheduler")
    settings = select_identity_settings(config, choices, blocks)
    parent = config.outputs / config.stage
    config = keep_recorded_commits(config, parent, name_stem(config, choices), settings)
    models = find_hub_models(config, (config.train.target,))
    if any(model.missing for model in models.values()):
        check_sources(config)
    return config, models


def name_stem(config: RunConfig, choices: Mapping[str, str]) -> str:
    """Return the name of the training's folder without its identity."""
    return f"{config.train.target}-{choices[config.train.target]}-{choices['tuning']}"
