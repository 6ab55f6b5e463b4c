"""Compose the configurations of the cells of a grid: the first cell, then those that differ from it in one value.

Hydra takes 0.1 s to compose a configuration from its files. The files that a cell needs depend on the options that it
chooses, so cells with the same options share them, and only the other values are set anew.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from itertools import product

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from codetool.config.config_sources import chooses_option
from codetool.config.override_errors import COMPOSE_ERRORS, get_key
from codetool.config.refused_settings import find_refused_settings
from codetool.config.setting_checks import escape_control
from codetool.errors import ConfigError

PLAIN_OVERRIDE = re.compile(r"[\w.]+=")
"""Matches an override that sets the value of a setting that is there."""


def list_cells(values: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield every combination of the values of all overrides.

    The first cell comes first, then those that differ from it in one value: in one of the options, in the last value of
    another list, in any other value. So most mistakes come early.
    """
    first = [each[0] for each in values]
    yield first
    options = [len(each) > 1 and chooses_option(each[0]) for each in values]
    early = [each[1:] if is_option else each[-1:] for each, is_option in zip(values, options, strict=True)]
    late = [[] if is_option else each[1:-1] for each, is_option in zip(values, options, strict=True)]
    for position, changes in [*enumerate(early), *enumerate(late)]:
        for value in changes if len(values[position]) > 1 else ():
            yield [*first[:position], value, *first[position + 1 :]]
    for numbers in product(*(range(len(each)) for each in values)):
        if sum(number > 0 for number in numbers) > 1:
            yield [each[number] for each, number in zip(values, numbers, strict=True)]


class CellComposer:
    """Composes cells that differ from a first one in some values."""

    def __init__(self, first: Sequence[str]) -> None:
        """`first` are the overrides of the first cell, each with one value."""
        self._first = list(first)
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        keys = [get_key(override) for override in first]
        self._is_value = [
            not _overlaps(key, keys[:position] + keys[position + 1 :]) for position, key in enumerate(keys)
        ]

    def compose(self, cell: Sequence[str]) -> DictConfig:
        """Return the configuration of a cell, without Hydra's own settings.

        Raises what Hydra raises, and ConfigError for settings that are refused.
        """
        pairs = list(zip(self._first, cell, self._is_value, strict=True))
        changes = [own for first, own, is_value in pairs if own != first and is_value and _is_plain_value(own)]
        base = tuple(first if own in changes else own for first, own, _ in pairs)
        if base not in self._composed:
            self._composed[base] = compose_checked(base)
            remove_hydra_settings(self._composed[base])
        config = copy.deepcopy(self._composed[base]) if changes else self._composed[base]
        parser = OverridesParser.create()
        for override in changes:
            OmegaConf.update(config, get_key(override), parser.parse_override(override).value(), merge=True)
        return config


def remove_hydra_settings(config: DictConfig) -> None:
    """Remove Hydra's own settings from a configuration."""
    with read_write(config), open_dict(config):
        del config["hydra"]


def _overlaps(key: str, others: Sequence[str]) -> bool:
    """Whether another override sets the same setting, or one above or below it."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others)


def _is_plain_value(override: str) -> bool:
    """Whether an override sets one value, which depends on no file."""
    if not PLAIN_OVERRIDE.match(override) or chooses_option(override):
        return False
    return not isinstance(OverridesParser.create().parse_override(override).value(), dict)


def compose_checked(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration, with Hydra's own settings. Raises ConfigError for settings that are refused."""
    config = compose("config", list(overrides), return_hydra_config=True)
    try:
        lines = list(find_refused_settings(config))
    except COMPOSE_ERRORS as error:  # settings of Hydra that are not what Hydra reads
        line = f"hydra: {str(error).splitlines()[0]}. Leave Hydra's settings out."
        raise ConfigError(escape_control(line)) from error
    if lines:
        raise ConfigError("\n".join(dict.fromkeys(map(escape_control, lines))))
    return config
