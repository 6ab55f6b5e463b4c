"""Settings of stage=train that are read only with some values of another setting, such as those of a PRM's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.config.override_errors import get_key
from codetool.config.setting_readers import get_block_names

TARGET = "train.target"
WITHOUT_PRM = "prm=none"
"""Override that says what is true of a training of a policy anyway."""
TD_SETTINGS = ("train.td_lambda", "train.td_gamma", "train.td_spot")
SOFT_SETTINGS = ("train.soft_target", *TD_SETTINGS, "train.progress_weight")
PRM_SETTINGS = (
    "train.labels", *SOFT_SETTINGS, "train.failed_negatives", "train.loss", "train.pairs_weight",
    "train.add_label_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """Settings that are read only if another setting has one of some values."""

    names: Sequence[str]
    """Dotted names of settings, and names of groups with all of their settings."""
    other: str
    values: Sequence[str]

    def covers(self, key: str) -> bool:
        """Whether a setting is one of `names`, or of one of its groups."""
        return key in self.names or any(name in self.names for name in get_block_names(key))


CONDITIONS = (
    Condition((*PRM_SETTINGS, "prm", "prm_prompt"), TARGET, ("prm",)),
    Condition(("policy", "policy_prompt"), TARGET, ("policy",)),
    Condition(SOFT_SETTINGS, "train.labels", ("soft",)),
    Condition(TD_SETTINGS, "train.soft_target", ("td", "progress")),
    Condition(("train.progress_weight",), "train.soft_target", ("progress",)),
    Condition(("train.pairs_weight",), "train.loss", ("pairs",)),
)
OTHERS = tuple(dict.fromkeys(condition.other for condition in CONDITIONS))
DECIDING_KEYS = ("stage", "experiment", "train", *OTHERS)
"""Keys of the overrides that decide which settings are read."""

Values = Mapping[str, str]
"""Value of each setting of `OTHERS`; empty for a configuration of another stage."""


def is_conditional(override: str) -> bool:
    """Whether it depends on another setting whether stage=train reads an override."""
    return any(condition.covers(get_key(override)) for condition in CONDITIONS)


def read_other_values(settings: Mapping[Any, Any]) -> Values:
    """Return the values in composed settings on which it depends what is read."""
    if settings.get("stage") != "train":
        return {}
    return {name: str(settings[name.split(".")[0]][name.split(".")[1]]) for name in OTHERS}


def find_unread_overrides(overrides: Sequence[str], cells: Sequence[Values]) -> list[str]:
    """Return a line for each override that no cell of a sweep reads, or the one run, because of another setting."""
    if not all(cells):
        return []
    return [line for override in overrides if (line := _explain_unread(override, cells)) is not None]


def _explain_unread(override: str, cells: Sequence[Values]) -> str | None:
    key = get_key(override)
    if override == WITHOUT_PRM:
        return None
    for condition in CONDITIONS:
        found = list(dict.fromkeys(cell[condition.other] for cell in cells))
        if condition.covers(key) and not set(found) & set(condition.values):
            allowed = " or ".join(condition.values)
            return f"{override}: only {condition.other}={allowed} reads it, and not {', '.join(found)}."
    return None


def drop_other_model(words: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the overrides of each stage of a chain; of a training, without those of the model that is not trained.

    An override that no other stage has stays, so that it is refused.
    """
    targets = [word.partition("=")[2] for word in words.get("train", ()) if get_key(word) == TARGET]
    target = targets[-1] if targets else "prm"
    elsewhere = {word for stage, given in words.items() if stage != "train" for word in given}
    models = [condition for condition in CONDITIONS if condition.other == TARGET and target not in condition.values]
    dropped = {
        word
        for word in words.get("train", ())
        if word in elsewhere and any(condition.covers(get_key(word)) for condition in models)
    }
    return {
        stage: [word for word in given if stage != "train" or word not in dropped] for stage, given in words.items()
    }
