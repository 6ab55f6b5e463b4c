"""Translate Hydra's sweep syntax into what Optuna draws from: `range(1,4)`, `choice(a,b)`, `interval(0,1)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep

from codetool.config.stage_chain import split_prefix
from codetool.errors import ConfigError
from codetool.sweeps.grid import expand_override

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def read_distribution(override: str) -> BaseDistribution | None:
    """Return what the values of an override are drawn from; None if it has one value.

    A range does not include its end, as in Hydra; an interval does. Raises ConfigError for an empty interval.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    parsed = OverridesParser.create().parse_override(split_prefix(override)[1])
    if not parsed.is_sweep_override():
        return None
    swept = parsed.value()
    if isinstance(swept, IntervalSweep):
        low, high, log = swept.start, swept.end, "log" in swept.tags
        if low is None or high is None or low > high or (log and low <= 0):
            raise ConfigError(f"{override}: is no interval: it wants a lower end, above 0 for log, and an upper end.")
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if isinstance(swept, RangeSweep) and not swept.shuffle and _ascends(swept):
        start, stop, step = swept.start or 0, swept.stop or 0, swept.step
        if all(isinstance(number, int) for number in (start, stop, step)):
            return IntDistribution(int(start), int(start + step * ((stop - start - 1) // step)), step=int(step))
        return FloatDistribution(start, start + step * (math.ceil((stop - start) / step) - 1), step=step)
    values = [each.partition("=")[2] for each in expand_override(override)]
    return CategoricalDistribution(values) if len(values) > 1 else None


def format_override(override: str, values: Mapping[str, object]) -> str:
    """Return an override with the value that was drawn for it, by the text before its `=`."""
    name = override.partition("=")[0]
    return f"{name}={values[name]}" if name in values else expand_override(override)[0]


def _ascends(swept: RangeSweep) -> bool:
    return swept.start is not None and swept.stop is not None and swept.step > 0 and swept.start < swept.stop
