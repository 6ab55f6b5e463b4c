"""The values that an override gives to its setting: one, or those of a comma list, a range or an interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep

from codetool.config.config_sources import list_options, read_default_choices
from codetool.config.override_errors import COMPOSE_ERRORS, get_key
from codetool.errors import ConfigError

MAX_SWEEP_VALUES = 10_000
"""Maximum number of values of one setting in a sweep."""


def expand_sweep(override: str) -> list[str]:
    """Return the override with each value of its comma list, or with the ends of its interval.

    Raises HydraException for an override that cannot be parsed, ConfigError for a list without values.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # which globs look into
    [parsed] = parser.parse_overrides([override])
    if not parsed.is_sweep_override():
        return [override]
    swept = parsed.value()
    if isinstance(swept, IntervalSweep):  # the ends of the interval that hydra/sweeper=optuna draws from
        return [f"{parsed.get_key_element()}={end}" for end in dict.fromkeys((swept.start, swept.end))]
    try:
        if isinstance(swept, RangeSweep) and _count_values(swept) > MAX_SWEEP_VALUES:
            raise ConfigError(f"{override}: is more than {MAX_SWEEP_VALUES} values. Choose fewer.")
        values = list(islice(parsed.sweep_string_iterator(), MAX_SWEEP_VALUES + 1))
    except (ArithmeticError, ValueError, TypeError) as error:  # such as range(1,3,0)
        raise ConfigError(f"{override}: has no values: {error}.") from error
    if not 0 < len(values) <= MAX_SWEEP_VALUES:
        problem = f"is more than {MAX_SWEEP_VALUES} values. Choose fewer" if values else "no value fits"
        raise ConfigError(f"{override}: {problem}.")
    return [f"{parsed.get_key_element()}={value}" for value in values]


def _count_values(swept: RangeSweep) -> float:
    """Return the number of values of a range, before they are listed."""
    if swept.start is None or swept.stop is None:
        return 0
    return abs((swept.stop - swept.start) / swept.step)


def parse_value(override: str) -> str:
    """Return the value of an override with one value, as text without quotes and escapes."""
    value = OverridesParser.create().parse_override(override).value()
    return value if isinstance(value, str) else override.split("=", 1)[1]


def list_stages(overrides: Sequence[str]) -> list[str]:
    """Return the stages that the overrides run, several in a sweep; none if they choose one that there is not."""
    chosen = [override for override in overrides if get_key(override) == "stage"]
    presets = [override for override in overrides if get_key(override) == "experiment"]
    try:
        if chosen or not presets:
            names = [parse_value(value) for override in chosen for value in expand_sweep(override)]
            names = names or [read_default_choices("config")["stage"]]
        else:  # a preset may choose the stage
            configs = (compose("config", [value], return_hydra_config=True) for value in expand_sweep(presets[-1]))
            names = [str(config.hydra.runtime.choices.stage) for config in configs]
    except (*COMPOSE_ERRORS, ConfigError):
        return []
    return list(dict.fromkeys(names)) if set(names) <= set(list_options("stage")) else []
