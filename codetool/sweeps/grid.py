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


def expand_grid(words: Sequence[str]) -> list[GridCell]:
    """Return the cells; the last override varies fastest. Raises ConfigError for an option that cannot vary."""
    ours = [word for word in words if not is_hydra_override(word)]
    values = [expand_sweep(word) for word in ours]
    swept = [place for place, each in enumerate(values) if len(each) > 1]
    for word in words:
        reason = (
            "hydra's own options are the same for all cells"
            if is_hydra_override(word)
            else CONSTANT_OPTIONS.get(get_key(word))
        )
        if reason and len(expand_sweep(word)) > 1:
            raise ConfigError(f"{word}: {get_key(word)} cannot vary within a sweep: {reason}.")
    return [
        GridCell(tuple(cell), {get_key(cell[place]): parse_value(cell[place]) for place in swept})
        for cell in itertools.product(*values)
    ]


def name_sweep(words: Sequence[str], experiment: str | None) -> str:
    """Return the name of the sweep's folder and W&B group: the experiment's, else one made of the overrides.

    It holds the fixed options and the names of the swept ones, but not their values, so a wider grid is the same sweep.
    """
    if experiment:
        return experiment
    ours = [word for word in words if not is_hydra_override(word)]
    marks = _read_marks(words)
    varies = sorted(get_key(word) for word in ours if len(expand_sweep(word)) > 1)
    fixed = sorted(word for word in ours if len(expand_sweep(word)) == 1 and is_hashed(get_key(word), marks))
    digest = hashlib.sha256(repr((varies, fixed)).encode()).hexdigest()[:6]
    chosen = {get_key(word): parse_value(word) for word in fixed}
    telling = [chosen[group] for group in NAME_GROUPS if group in chosen]
    return "-".join([*telling, "by", *(name.split(".")[-1] for name in varies), digest])


def _read_marks(words: Sequence[str]) -> Mapping[str, Mark]:
    """Return the settings marked as no part of a result's identity, for the options of the first cell."""
    settings = OmegaConf.to_container(compose("config", list(expand_grid(words)[0].overrides)), resolve=True)
    assert isinstance(settings, dict)
    return find_marked_settings({str(name): value for name, value in settings.items()}, RunConfig)
