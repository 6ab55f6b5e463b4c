"""Facts of this command from Hydra: the chosen options and the command as it was typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from codetool.config.config_sources import ADDED_PROVIDER
from codetool.config.override_errors import get_key
from codetool.config.overrides import parse_value
from codetool.runs.identity import TARGET_KEY

CONFIG_DIR_PROVIDERS = ("command-line", ADDED_PROVIDER)
"""Providers of the folder of `--config-dir` in Hydra's search path: of a run, and of a sweep."""


def get_chosen_options(hydra: Any) -> dict[str, str]:
    """Return the chosen option of each group of a `HydraConf`, by `group` or `group@package`.

    An override of an option's class, `search._target_=my.Search`, is a choice too.
    """
    choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
    class_overrides = [override for override in hydra.overrides.task if get_key(override).endswith(f".{TARGET_KEY}")]
    return choices | {get_key(override): parse_value(override) for override in class_overrides}


def get_command() -> list[str]:
    """Return the command as it was typed, without its program's folder; in a sweep, the command of the cell."""
    program = Path(sys.argv[0]).name
    start = ["python", program] if program.endswith(".py") else [program]
    if not HydraConfig.initialized():
        return [*start, *sys.argv[1:]]
    return [*start, *list_added_words(), *HydraConfig.get().overrides.task]


def list_added_words() -> list[str]:
    """Return the words of this command that add folders of options, without which it would not know them."""
    if not HydraConfig.initialized():
        return []
    hydra = HydraConfig.get()
    search_paths = [override for override in hydra.overrides.hydra if get_key(override) == "hydra.searchpath"]
    folders = [
        source.path
        for source in hydra.runtime.config_sources
        if source.provider in CONFIG_DIR_PROVIDERS and source.schema == "file"
    ]
    added = [f"--config-dir={path}" for path in folders if not any(path in override for override in search_paths)]
    return [*added, *search_paths]
