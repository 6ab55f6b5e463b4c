"""The settings that a training's result depends on; what it does not read gives it no other name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from codetool.training.settings import Training
from codetool.training.tuning import Tuning

SAME = ("data", "validation_data", "threads", "merge", "checkpoint_every", "checkpointing")
"""Settings of `train` that are no part of the identity: the data's content is."""
JUDGING = ("labels", "soft_target", "loss", "new_labels")
"""Those that mean nothing to a policy."""
VALIDATING = ("validations", "patience")
"""Those that mean nothing where nothing is kept back."""
ELSEWHERE = ("learning_rate", "start")
"""Settings of `tuning` that the identity has otherwise: as `train.learning_rate`, and as the adapter's checksum."""
ADAPTING = ("rank", "alpha", "dropout", "modules")
"""Those that mean nothing where every weight is trained."""


def determining(settings: Mapping[str, Any], training: Training, tuning: Tuning) -> dict[str, Any]:
    """Of the resolved settings, those of `train` and `tuning` that the weights come from."""
    unread = {"train": {*SAME, *_of_training(training)}, "tuning": {*ELSEWHERE, *_of_tuning(tuning)}}
    return {
        group: {name: value for name, value in settings[group].items() if name not in names}
        for group, names in unread.items()
    }


def _of_training(training: Training) -> Collection[str]:
    """What is not read of it."""
    found = set(JUDGING if training.target == "policy" else ())
    if training.labels == "hard":
        found.add("soft_target")
    if training.validation_data:
        found.add("validation")
    elif not training.validation:
        found.update(VALIDATING)
    return found


def _of_tuning(tuning: Tuning) -> Collection[str]:
    return ADAPTING if tuning.method == "full" else ()
