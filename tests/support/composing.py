"""The settings of a command line without running it."""

from __future__ import annotations

from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from codetool.config.invocation import get_chosen_options
from codetool.config.overrides import CONF
from codetool.config.run_config import RunConfig, validate


def compose_config(*words: str) -> tuple[RunConfig, dict[str, str]]:
    """The settings that words compose to, and the option chosen in each group."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(words), return_hydra_config=True)
    choices = get_chosen_options(config.hydra)
    with open_dict(config):
        del config["hydra"]
    return validate(config), choices
