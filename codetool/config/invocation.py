"""Facts of this command from Hydra: the chosen options and the command as it was typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from codetool.config.cell_configs import remove_hydra_settings
from codetool.config.config_sources import ADDED_PROVIDER
from codetool.config.override_errors import get_key
from codetool.config.overrides import compose_invocation
from codetool.config.run_config import RunConfig, validate
from codetool.config.sweep_values import parse_value
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


def name_program() -> str:
    """Return how a reader starts this program: by the script of a checkout, or as an installed one."""
    return "python run.py" if Path(sys.argv[0]).name == "run.py" else "codetool"


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


@contextmanager
def invoke(overrides: Sequence[str], flags: Sequence[str] = ()) -> Iterator[tuple[RunConfig, dict[str, str]]]:
    """Yield the settings and the chosen options of overrides, as if they were the whole command line.

    What the process asks Hydra for, such as the command, is about them until the context ends. Raises ConfigError.
    """
    config = compose_invocation(overrides, flags)
    instance = HydraConfig.instance()
    previous, choices = instance.cfg, get_chosen_options(config.hydra)
    instance.set_config(config)
    try:
        remove_hydra_settings(config := config.copy())
        yield validate(config), choices
    finally:
        instance.cfg = previous
