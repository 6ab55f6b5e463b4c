"""Expand the overrides of a multirun into the cells of a sweep: every combination of the listed values."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser

from codetool.config.override_errors import get_key
from codetool.config.overrides import is_hydra_override
from codetool.config.stage_chain import split_prefix
from codetool.config.sweep_values import expand_sweep, parse_value
from codetool.errors import ConfigError
from codetool.runs.identity import is_hashed
from codetool.runs.operational import Mark

NAME_GROUPS = ("benchmark", "search", "policy", "prm")
"""Groups whose option is part of a sweep's name if it does not vary."""
SOURCE_BLOCKS = ("collect", "evaluate_prm", "judge_stage")
"""Blocks of settings that are no part of an identity as such: the data that they name is, or the derived files."""
CONSTANT_OPTIONS = {
    "outputs": "the sweep has one folder",
    "fresh": "it is true or false for all cells",
    "dry_run": "it is true or false for all cells",
    "stage": "a table compares results of one stage. Stages that follow each other are a list, stage=[collect,train]",
}
"""Options that cannot vary within a sweep, each with the reason."""


@dataclass(frozen=True)
class GridCell:
    """One combination of values."""

    overrides: tuple[str, ...]
    """All overrides of the cell, each with one value."""
    swept: Mapping[str, str] = field(hash=False)
    """The value of each option that varies, by its name."""

    @property
    def label(self) -> str:
        """The swept options with the cell's values, as text; says so if nothing is swept."""
        return " ".join(f"{name}={value}" for name, value in self.swept.items()) or "(nothing is swept)"


def expand_grid(overrides: Sequence[str]) -> list[GridCell]:
    """Return the cells, each once; the last override varies fastest. Raises ConfigError for an interval."""
    own_overrides = list(filter(is_cell_override, overrides))
    for override in own_overrides:
        if is_interval(override):
            raise ConfigError(
                f"{override}: an interval has no list of values. Write one, range(1,4) or 1,2,3, or draw from the "
                "interval with hydra/sweeper=optuna."
            )
    values = [expand_override(override) for override in own_overrides]
    swept = [index for index, option_values in enumerate(values) if len(option_values) > 1]
    cells = (make_cell(cell, [cell[index] for index in swept]) for cell in itertools.product(*values))
    return list(dict.fromkeys(cells))


def is_cell_override(override: str) -> bool:
    """Whether an override is part of each cell: those for Hydra are not, but for the folders of options."""
    return not is_hydra_override(override) or get_key(override) == "hydra.searchpath"


def make_cell(overrides: Sequence[str], swept: Sequence[str]) -> GridCell:
    """Return the cell of overrides with one value each; `swept` are those of them that vary."""
    return GridCell(tuple(overrides), {get_key(each): parse_value(split_prefix(each)[1]) for each in swept})


def expand_override(override: str) -> list[str]:
    """Return an override, with or without the prefix of a stage, with each value of its comma list."""
    prefix, plain = split_prefix(override)
    return [f"{prefix}:{value}" if prefix else value for value in expand_sweep(plain)]


def is_interval(override: str) -> bool:
    """Whether an override is an interval, such as `search.n=interval(1,8)`."""
    return OverridesParser.create().parse_override(split_prefix(override)[1]).is_interval_sweep()


def check_constant_options(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an option that varies and cannot vary within a sweep."""
    for override in overrides:
        reason = (
            "hydra's own options are the same for all cells"
            if is_hydra_override(override)
            else CONSTANT_OPTIONS.get(get_key(override))
        )
        if reason and len(expand_override(override)) > 1:
            raise ConfigError(f"{override}: {get_key(override)} cannot vary within a sweep: {reason}.")


def name_sweep(overrides: Sequence[str], experiment: str | None, marks: Mapping[str, Mark]) -> str:
    """Return the name of the sweep's folder and W&B group: the experiment's, else one made of the overrides.

    It holds the fixed options and the names of the swept ones, but not their values, so a wider grid is the same sweep.
    `marks` tell which settings are no part of a result's identity.
    """
    if experiment:
        return experiment
    own_overrides = [override for override in overrides if not is_hydra_override(override)]
    varies = sorted(get_key(override) for override in own_overrides if len(expand_override(override)) > 1)
    fixed = sorted(
        override
        for override in own_overrides
        if len(expand_override(override)) == 1 and _determines_results(get_key(override), marks)
    )
    digest = hashlib.sha256(repr((varies, fixed)).encode()).hexdigest()[:6]
    chosen = {get_key(override): parse_value(split_prefix(override)[1]) for override in fixed}
    named_options = [chosen[group] for group in NAME_GROUPS if group in chosen]
    return "-".join([*named_options, "by", *(name.split(".")[-1] for name in varies), digest])


def _determines_results(key: str, marks: Mapping[str, Mark]) -> bool:
    """Whether a setting, `search.n` or with a prefix `evaluate:search.n`, says what the sweep is about."""
    name = key.rpartition(":")[2]
    return is_hashed(name, marks) or name.split(".")[0] in SOURCE_BLOCKS
