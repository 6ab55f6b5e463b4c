"""Check all overrides of a command line at once, before Hydra runs it.

Hydra reports the first error only, in its own terms. Here overrides that choose an option of a group are tried first,
then every other override against the configuration that those give, so that all errors are reported together.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from hydra import compose
from omegaconf import DictConfig

from codetool.config.cell_configs import CellComposer, compose_checked, list_cells, remove_hydra_settings
from codetool.config.config_sources import CONF as CONF
from codetool.config.config_sources import (
    chooses_option,
    initialize_hydra,
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
from codetool.config.read_conditions import (
    DECIDING_KEYS,
    find_unread_overrides,
    is_conditional,
    read_other_values,
)
from codetool.config.run_config import RunConfig, check_settings, validate
from codetool.config.setting_checks import escape_control
from codetool.config.setting_readers import explain_unread
from codetool.config.sweep_values import expand_sweep, list_stages
from codetool.errors import ConfigError

LAUNCHER_OVERRIDE = re.compile(r"hydra\.(run\.dir=|job\.name=train_ddp_process_|output_subdir=null)")
"""Matches what Lightning's launcher appends to the command of a process that it starts."""
CHECK_SECONDS = 1.5
"""Seconds in which further combinations are checked before the first cell of a grid runs."""
MAX_EXPLAINED_VALUES = 20
"""Number of values of a comma list that are tried one by one to explain an error."""
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

    `flags` may add folders of options. Raises ConfigError with a line for every invalid override, and for every invalid
    value of the others.
    """
    with initialize_hydra(parse_added_folders(flags, overrides)):
        configs = list(_compose_cells(overrides, multirun))
    if lines := find_unread_overrides(overrides, list(map(read_other_values, configs))):
        raise ConfigError("\n".join(map(escape_control, lines)))
    return configs


def compose_invocation(overrides: Sequence[str], flags: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration of one run, with Hydra's own settings. Raises ConfigError as `compose_all` does."""
    with initialize_hydra(parse_added_folders(flags, overrides)):
        stages = list_stages(overrides)
        if any(_is_invalid_alone(override, stages) for override in overrides):
            raise _explain_all(overrides, multirun=False)
        try:
            return compose_checked(overrides)
        except COMPOSE_ERRORS as error:
            raise _explain_all(overrides, multirun=False) from error


def check_grid(overrides: Sequence[str], flags: Sequence[str] = (), seconds: float = CHECK_SECONDS) -> RunConfig:
    """Check the cells of a grid and return the settings of the first one. Raises ConfigError with all errors.

    The first cell is checked, and those with the last value or another option of one list. The other cells are checked
    for some `seconds`, one after the other in the order of `list_cells`; what is wrong with the rest is found when they
    run.
    """
    values: dict[tuple[str, str], Any] = {}
    error_lines: list[str] = []
    first: RunConfig | None = None
    with initialize_hydra(parse_added_folders(flags, overrides)):
        always = 1 + sum(map(_count_checked_values, overrides))
        deadline = time.monotonic() + seconds
        for number, config in enumerate(_compose_cells(overrides, multirun=True)):
            try:
                first = first or validate(config, values)
                if number:
                    check_settings(config, values)
            except ConfigError as error:
                error_lines += str(error).splitlines()
            if number + 1 >= always and time.monotonic() > deadline:
                break
        error_lines += [] if error_lines else _find_unread_in_grid(overrides)
    if error_lines or first is None:
        raise ConfigError("\n".join(dict.fromkeys(error_lines)))
    return first


def _find_unread_in_grid(overrides: Sequence[str]) -> list[str]:
    """Return a line for each override that no cell reads; only the settings that decide about it are varied."""
    if not any(map(is_conditional, overrides)):
        return []
    values = [expand_sweep(override) for override in overrides]
    varied = [each if get_key(each[0]) in DECIDING_KEYS else each[:1] for each in values]
    composer = CellComposer([each[0] for each in varied])
    cells = [read_other_values(composer.compose(cell)) for cell in list_cells(varied)]
    return list(map(escape_control, find_unread_overrides(overrides, cells)))


def _count_checked_values(override: str) -> int:
    """Return the number of values after the first that are checked in any case: all options, else the last value."""
    try:
        more = len(expand_sweep(override)) - 1
    except (*COMPOSE_ERRORS, ConfigError):
        return 0  # the error is explained elsewhere
    return more if chooses_option(override) else min(more, 1)


def _compose_cells(overrides: Sequence[str], multirun: bool) -> Iterator[DictConfig]:
    """Yield the configuration of each cell, see `list_cells`. Raises ConfigError that explains what is wrong."""
    stages = list_stages(overrides)
    if any(_is_invalid_alone(override, stages) for override in overrides):
        raise _explain_all(overrides, multirun)
    values = [expand_sweep(override) for override in overrides]
    if not multirun and any(len(each) > 1 for each in values):
        raise _explain_all(overrides, multirun)
    composer = CellComposer([each[0] for each in values])
    for cell in list_cells(values):
        try:
            config = composer.compose(cell)
        except COMPOSE_ERRORS as error:
            raise _explain_all(overrides, multirun, cell) from error
        yield config


def _explain_unread(override: str, stages: Sequence[str]) -> str | None:
    """Explain that no stage of the command reads an override; None if one does, or the stages are not known."""
    reason = explain_unread(get_key(override), stages) if stages and not is_hydra_override(override) else None
    return f"{override}: {reason}." if reason else None


def _is_invalid_alone(override: str, stages: Sequence[str]) -> bool:
    """Whether an override is invalid in a command of these stages, whatever the others are."""
    try:
        if _explain_unread(override, stages) is not None:
            return True
        return any(explain_wrong_choice(value) for value in expand_sweep(override))
    except (*COMPOSE_ERRORS, ConfigError):
        return True


def _explain_all(overrides: Sequence[str], multirun: bool, cell: Sequence[str] = ()) -> ConfigError:
    """Return the error with a line for everything that is wrong; `cell` are the overrides that do not compose."""
    error_lines, valid_overrides = _split_valid_invalid(overrides, multirun)  # one override at a time takes longer
    if error_lines:
        return ConfigError("\n".join(map(escape_control, [*error_lines, *_find_value_errors(valid_overrides)])))
    try:
        _compose_or_explain(sorted(cell or overrides, key=_get_priority))
    except ConfigError as error:
        return error
    return ConfigError(f"{' '.join(cell or overrides)}: cannot be composed.")


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


def _compose_or_explain(overrides: Sequence[str]) -> DictConfig:
    """Compose overrides that are valid one by one. Raises ConfigError if they contradict each other."""
    try:
        return compose("config", list(overrides), return_hydra_config=True)
    except COMPOSE_ERRORS as error:
        mistakes = (explain_error(override, overrides[:position]) for position, override in enumerate(overrides))
        line = next(filter(None, mistakes), str(error).splitlines()[0])
        choice_overrides = " ".join(override for override in overrides if chooses_option(override.split("=")[0]))
        raise ConfigError(escape_control(f"{line} This is so with {choice_overrides}.")) from error


def _split_valid_invalid(overrides: Sequence[str], multirun: bool) -> tuple[list[str], list[str]]:
    """Return a line for each invalid override, and the valid ones. Choices of options come first: others need them."""
    error_lines: list[str] = []
    valid_overrides: list[str] = []
    stages = list_stages(overrides)
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
        lines = [line for line in map(explain_wrong_choice, values) if line]
        if not lines:
            explanations = (explain_error(value, first_values) for value in values[:MAX_EXPLAINED_VALUES])
            lines = [line for line in explanations if line]
        if not lines and (line := _explain_unread(override, stages)) is not None:
            lines = [line]
        error_lines += lines
        valid_overrides += [] if lines else [override]
    return error_lines, valid_overrides


def _get_priority(override: str) -> int:
    """Return the position in the order of checks: 0 stage and preset, 1 choices of options, 2 values."""
    return 0 if get_key(override) in ("stage", "experiment") else 1 if chooses_option(override) else 2


def _find_value_errors(overrides: Sequence[str]) -> list[str]:
    """Return a line for every invalid value among overrides that are valid otherwise."""
    values = [expand_sweep(override) for override in overrides]
    try:
        for cell in islice(list_cells(values), MAX_EXPLAINED_VALUES):
            config = _compose_or_explain(cell)
            remove_hydra_settings(config)
            validate(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []
