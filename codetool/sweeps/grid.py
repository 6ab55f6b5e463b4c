"""Expand the overrides of a multirun into the cells of a sweep: every combination of the listed values."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra import compose
from omegaconf import OmegaConf

from codetool.config.override_errors import get_key
from codetool.config.overrides import expand_sweep, is_hydra_override, parse_value
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.runs.identity import find_marked_settings, is_hashed
from codetool.runs.operational import Mark

NAME_GROUPS = ("benchmark", "search", "policy", "prm")
"""Groups whose option is part of a sweep's name if it does not vary."""
CONSTANT_OPTIONS = {
    "outputs": "the sweep has one folder",
    "fresh": "it is true or false for all cells",
    "dry_run": "it is true or false for all cells",
    "stage": "a table compares results of one stage",
}
"""Options that cannot vary within a sweep, each with the reason."""


@dataclass(frozen=True)
class GridCell:
    """One combination of values."""

    overrides: tuple[str, ...]
    """All overrides of the cell, each with one value."""
    swept: Mapping[str, str]
    """The value of each option that varies, by its name."""

    @property
    def label(self) -> str:
        """The swept options with the cell's values, as text."""
        return " ".join(f"{name}={value}" for name, value in self.swept.items())


def expand_grid(overrides: Sequence[str]) -> list[GridCell]:
    """Return the cells; the last override varies fastest. Raises ConfigError for an option that cannot vary."""
    own_overrides = [override for override in overrides if not is_hydra_override(override)]
    values = [expand_sweep(override) for override in own_overrides]
    swept = [index for index, option_values in enumerate(values) if len(option_values) > 1]
    for override in overrides:
        reason = (
            "hydra's own options are the same for all cells"
            if is_hydra_override(override)
            else CONSTANT_OPTIONS.get(get_key(override))
        )
        if reason and len(expand_sweep(override)) > 1:
            raise ConfigError(f"{override}: {get_key(override)} cannot vary within a sweep: {reason}.")
    return [
        GridCell(tuple(cell), {get_key(cell[index]): parse_value(cell[index]) for index in swept})
        for cell in itertools.product(*values)
    ]


def name_sweep(overrides: Sequence[str], experiment: str | None) -> str:
    """Return the name of the sweep's folder and W&B group: the experiment's, else one made of the overrides.

    It holds the fixed options and the names of the swept ones, but not their values, so a wider grid is the same sweep.
    """
    if experiment:
        return experiment
    own_overrides = [override for override in overrides if not is_hydra_override(override)]
    marks = _read_marks(overrides)
    varies = sorted(get_key(override) for override in own_overrides if len(expand_sweep(override)) > 1)
    fixed = sorted(
        override
        for override in own_overrides
        if len(expand_sweep(override)) == 1 and is_hashed(get_key(override), marks)
    )
    digest = hashlib.sha256(repr((varies, fixed)).encode()).hexdigest()[:6]
    chosen = {get_key(override): parse_value(override) for override in fixed}
    named_options = [chosen[group] for group in NAME_GROUPS if group in chosen]
    return "-".join([*named_options, "by", *(name.split(".")[-1] for name in varies), digest])


def _read_marks(overrides: Sequence[str]) -> Mapping[str, Mark]:
    """Return the settings marked as no part of a result's identity, for the options of the first cell."""
    settings = OmegaConf.to_container(compose("config", list(expand_grid(overrides)[0].overrides)), resolve=True)
    assert isinstance(settings, dict)
    return find_marked_settings({str(name): value for name, value in settings.items()}, RunConfig)
