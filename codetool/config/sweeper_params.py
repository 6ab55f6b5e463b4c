"""Comma lists in `hydra.sweeper.params`, which presets bring: they count as those on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from codetool.config.config_sources import initialize_hydra, parse_added_folders
from codetool.config.override_errors import COMPOSE_ERRORS, get_key
from codetool.config.overrides import is_hydra_override
from codetool.config.stage_chain import parse_chain
from codetool.config.sweep_values import expand_sweep

PRESET_GROUPS = ("stage", "experiment")
"""Groups whose options may set Hydra's own settings."""


def select_hydra_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that determine Hydra's own settings: those for Hydra, the stage, and the preset.

    An option that varies decides nothing for all cells and is left out. Of a chain of stages it is the first one.
    """
    if stages := parse_chain(overrides):
        overrides = [f"stage={stages[0]}", *(override for override in overrides if get_key(override) != "stage")]
    return [
        override
        for override in overrides
        if is_hydra_override(override) or (get_key(override) in PRESET_GROUPS and len(expand_sweep(override)) == 1)
    ]


def read_sweeper(overrides: Sequence[str], flags: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Return the chosen sweeper, and the overrides after those in `hydra.sweeper.params` of other settings.

    Overrides that cannot be composed are returned as they are: their errors are explained elsewhere.
    """
    with initialize_hydra(parse_added_folders(flags, overrides)):
        try:
            config = compose("config", select_hydra_overrides(overrides), return_hydra_config=True)
            params = list(_list_params(config))
        except COMPOSE_ERRORS:
            return "grid", list(overrides)
    given = {get_key(override) for override in overrides}
    chosen = str(config.hydra.runtime.choices["hydra/sweeper"])
    return chosen, [*(param for param in params if get_key(param) not in given), *overrides]


def _list_params(config: DictConfig) -> Iterator[str]:
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(sweeper, dict)
    yield from _flatten(sweeper.get("params") or {}, "")


def _flatten(params: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    """Yield `name=values` for nested or dotted names; values that are no text are written as JSON."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}"
