"""Overrides of stage=improve that no training of a round reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from codetool.config.override_errors import get_key
from codetool.config.read_conditions import Values, find_unread_overrides
from codetool.errors import ConfigError
from codetool.stages.improve.settings import ImproveConfig

TRAINS_PRM = "improve.prm=train trains a PRM too."


def refuse_unread(settings: ImproveConfig, overrides: Sequence[str], trainings: Mapping[str, Values]) -> None:
    """Raise ConfigError with a line for each override of a training that none of the trainings reads.

    `overrides` are those of the whole command; `trainings` has, for the parts `train` and `train_prm`, the values on
    which it depends what is read. Without the training of a PRM it has no `train_prm`.
    """
    shared = [override for override in overrides if get_key(override).startswith("train.")]
    lines = find_unread_overrides(shared, list(trainings.values()))
    lines += _find_unread_parts(settings.parts, trainings)
    if lines:
        hint = "" if "train_prm" in trainings else f" {TRAINS_PRM}"
        raise ConfigError("\n".join(f"{line}{hint}" for line in lines))


def _find_unread_parts(parts: Sequence[str], trainings: Mapping[str, Values]) -> Iterator[str]:
    """Yield a line for each override with a prefix that its training does not read."""
    for prefixed in parts:
        part, _, override = prefixed.partition(":")
        if part == "train_prm" and part not in trainings:
            yield f"{prefixed}: no PRM is trained."
        elif part in trainings:
            yield from (f"{part}:{line}" for line in find_unread_overrides([override], [trainings[part]]))
