"""Check all overrides of a command line at once, before Hydra runs it.

Hydra reports the first error only, in its own terms. Here overrides that choose an option of a group are tried first,
then every other override against the configuration that those give, so that all errors are reported together.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import islice, product
from math import prod

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep
from omegaconf import DictConfig, open_dict, read_write

from codetool.config.config_sources import CONF as CONF
from codetool.config.config_sources import (
    initialize_hydra,
    is_group,
    parse_added_folders,
)
from codetool.config.override_errors import (
    COMPOSE_ERRORS,
    explain_error,
    explain_syntax_error,
    explain_wrong_choice,
    get_key,
    quote_value,
)
from codetool.config.refused_settings import find_refused_settings
from codetool.config.run_config import RunConfig, validate
from codetool.config.setting_checks import escape_control
from codetool.errors import ConfigError

LAUNCHER_OVERRIDE = re.compile(r"hydra\.(run\.dir=|job\.name=train_ddp_process_|output_subdir=null)")
"""Matches what Lightning's launcher appends to the command of a process that it starts."""
MAX_COMBINATIONS = 256
"""Maximum number of sweep cells that are all composed beforehand, 0.1 s each."""
MAX_SWEEP_VALUES = 10_000
"""Maximum number of values of one setting in a sweep."""
COMPLETION_FLAGS = ("--shell-completion", "-sc")
"""Flags of Hydra's shell completion, followed by `install=bash`, `uninstall=bash` or `query=bash`."""
FLAGS_WITH_VALUE = {
    "--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun",
    "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", *COMPLETION_FLAGS,
}  # fmt: skip


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments of a command line into (Hydra's flags with their values, overrides)."""
    flags: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        belongs_to_flag = argument.startswith("-") or (bool(flags) and flags[-1] in FLAGS_WITH_VALUE)
        (flags if belongs_to_flag else overrides).append(argument)
    return flags, overrides


def compose_all(overrides: Sequence[str], *, multirun: bool = False, flags: Sequence[str] = ()) -> list[DictConfig]:
    """Compose the configuration of the overrides; with comma lists, one for every combination of their values.

    Beyond 256 combinations, one for every value of each list with every choice of options. `flags` may add folders of
    options. Raises ConfigError with a line for every invalid override, and for every invalid value of the others.
    """
    with initialize_hydra(parse_added_folders(flags, overrides)):
        refused = any(_is_invalid_alone(override, multirun) for override in overrides)
        configs = None if refused else _compose_variants(overrides, multirun)
        if configs is None:  # now one override at a time, which takes longer
            error_lines, valid_overrides = _split_valid_invalid(overrides, multirun)
            if error_lines:
                raise ConfigError("\n".join(map(escape_control, [*error_lines, *_find_value_errors(valid_overrides)])))
            configs = [_compose_or_explain(variant) for variant in _list_variants(valid_overrides)]
        try:
            unread_lines = [line for config in configs for line in find_refused_settings(config)]
        except COMPOSE_ERRORS as error:  # settings of Hydra that are not what Hydra reads
            raise ConfigError(
                escape_control(f"hydra: {str(error).splitlines()[0]}. Leave Hydra's settings out.")
            ) from error
        if unread_lines:
            raise ConfigError("\n".join(dict.fromkeys(map(escape_control, unread_lines))))
        for config in configs:
            _remove_hydra_settings(config)
        return configs


def _remove_hydra_settings(config: DictConfig) -> None:
    """Remove Hydra's own settings from a configuration."""
    with read_write(config), open_dict(config):
        del config["hydra"]


def _is_invalid_alone(override: str, multirun: bool) -> bool:
    """Whether an override is invalid whatever the others are."""
    try:
        return any(explain_wrong_choice(value) for value in expand_sweep(override))
    except (*COMPOSE_ERRORS, ConfigError):
        return True


def _compose_variants(overrides: Sequence[str], multirun: bool) -> list[DictConfig] | None:
    """Compose all variants; None if an override is invalid."""
    try:
        variants = _list_variants(overrides)
        return [_compose(variant) for variant in variants] if multirun or len(variants) == 1 else None
    except COMPOSE_ERRORS:
        return None


def _compose(overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of the overrides, with Hydra's own settings."""
    return compose("config", list(overrides), return_hydra_config=True)


def validate_all(configs: Sequence[DictConfig]) -> list[RunConfig]:
    """Validate every configuration. Raises ConfigError with all invalid values."""
    valid: list[RunConfig] = []
    error_lines: list[str] = []
    for config in configs:
        try:
            valid.append(validate(config))
        except ConfigError as error:
            error_lines += str(error).splitlines()
    if error_lines:
        raise ConfigError("\n".join(dict.fromkeys(error_lines)))
    return valid


def remove_launcher_overrides(overrides: Sequence[str], rank: str | None) -> list[str]:
    """Return the overrides without those that Lightning's launcher adds to the command of another process.

    `rank` is the value of LOCAL_RANK, None if it is not set; the first process has 0.
    """
    if not rank or rank == "0":
        return list(overrides)
    return [override for override in overrides if not LAUNCHER_OVERRIDE.match(override)]


def is_hydra_override(override: str) -> bool:
    """Whether the override is for Hydra itself, such as `hydra/launcher=joblib`."""
    return re.match(r"[+~]*hydra[./]", override) is not None


def parse_value(override: str) -> str:
    """Return the value of an override with one value, as text without quotes and escapes."""
    value = OverridesParser.create().parse_override(override).value()
    return value if isinstance(value, str) else override.split("=", 1)[1]


def _compose_or_explain(overrides: Sequence[str]) -> DictConfig:
    """Compose overrides that are valid one by one. Raises ConfigError if they contradict each other."""
    try:
        return _compose(overrides)
    except COMPOSE_ERRORS as error:
        mistakes = (explain_error(override, overrides[:position]) for position, override in enumerate(overrides))
        line = next(filter(None, mistakes), str(error).splitlines()[0])
        choice_overrides = " ".join(override for override in overrides if _chooses_option(override.split("=")[0]))
        raise ConfigError(escape_control(f"{line} This is so with {choice_overrides}.")) from error


def _list_variants(overrides: Sequence[str]) -> list[list[str]]:
    """List every combination of the values in the comma lists.

    If there are too many, list every combination of the chosen options, which decide what other settings exist, and
    with each of them every value of the other lists, one list at a time.
    """
    choices = [expand_sweep(override) for override in overrides]
    if prod(map(len, choices)) <= MAX_COMBINATIONS:
        return list(map(list, product(*choices)))
    combinations = product(*(values if _chooses_option(get_key(values[0])) else values[:1] for values in choices))
    variants = []
    for base in map(list, combinations):
        alternatives = [(position, value) for position, values in enumerate(choices) for value in values[1:]]
        others = [(position, value) for position, value in alternatives if not _chooses_option(get_key(value))]
        variants += [base, *([*base[:position], value, *base[position + 1 :]] for position, value in others)]
    return variants


def expand_sweep(override: str) -> list[str]:
    """Return the override with each value of its comma list.

    Raises HydraException for an override that cannot be parsed, ConfigError for a list without values.
    """
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # which globs look into
    [parsed] = parser.parse_overrides([override])
    if not parsed.is_sweep_override():
        return [override]
    swept = parsed.value()
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


def _split_valid_invalid(overrides: Sequence[str], multirun: bool) -> tuple[list[str], list[str]]:
    """Return a line for each invalid override, and the valid ones. Choices of options come first: others need them."""
    error_lines: list[str] = []
    valid_overrides: list[str] = []
    for override in sorted(overrides, key=_get_priority):  # a stable sort
        try:
            values = expand_sweep(override)
        except COMPOSE_ERRORS:
            error_lines.append(explain_syntax_error(override))
            continue
        except ConfigError as error:
            error_lines.append(str(error))
            continue
        if len(values) > 1 and not multirun:
            text = shlex.quote(f"{get_key(override)}={quote_value(override.partition('=')[2])}")
            error_lines.append(
                f"{override}: a comma list is one configuration for each value: add -m, or write a list as [a,b], or "
                f"quote a text with a comma: {text}"
            )
            continue
        first_values = [expand_sweep(valid_override)[0] for valid_override in valid_overrides]
        explanations = (explain_wrong_choice(value) or explain_error(value, first_values) for value in values)
        lines = [line for line in explanations if line]
        error_lines += lines
        valid_overrides += [] if lines else [override]
    return error_lines, valid_overrides


def _get_priority(override: str) -> int:
    """Return the position in the order of checks: 0 stage and preset, 1 choices of options, 2 values."""
    return 0 if get_key(override) in ("stage", "experiment") else 1 if _chooses_option(override) else 2


def _find_value_errors(overrides: Sequence[str]) -> list[str]:
    """Return a line for every invalid value among overrides that are valid otherwise."""
    try:
        for variant in _list_variants(overrides):
            config = _compose_or_explain(variant)
            _remove_hydra_settings(config)
            validate(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _chooses_option(override: str) -> bool:
    """Whether an override, or its left side, chooses an option of a group."""
    return is_group(override.split("=")[0].lstrip("+~").split("@")[0])
