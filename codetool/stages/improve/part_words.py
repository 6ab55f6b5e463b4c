"""The overrides of each part of a round: what the command sets for it, and the models that the rounds have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from codetool.config.config_sources import initialize_hydra, parse_added_folders
from codetool.config.override_errors import get_key, quote_value
from codetool.config.stage_chain import IMPROVE_PARTS, select_overrides
from codetool.errors import ConfigError
from codetool.models.locate import resolve_path
from codetool.stages.improve.settings import ImproveConfig

Part = Literal["collect", "train", "train_prm", "evaluate"]
STAGES = ("collect", "train", "evaluate")
OWN_SETTINGS = ("stage", "improve", "outputs", "fresh", "dry_run")
"""Settings that the parts get from stage=improve itself, or that only it reads."""
REFUSED = {
    "limit": "a round has improve.tasks tasks, and an evaluation improve.dev_tasks",
    "ids": "each round draws its own tasks: improve.tasks, seed",
    "shard": "a round goes on from the whole result of each part",
    "train.files": "each round trains on what it has collected",
    "train.target": "the policy is trained, and with improve.prm=train the PRM too",
    "objective": "choose it with improve.objective; a prefix sets its settings, train:objective.beta=0.2",
    "collect.record_tokens": "improve.objective=grpo needs it, the others do not read it",
    "tuning.init_adapter": "the policy begins with policy.path, the PRM with prm.path",
    "benchmark.split": "trees are of improve.train_split, evaluations of improve.dev_split",
}
"""Settings that stage=improve sets for its parts, each with the way to say what the user may mean."""


@dataclass(frozen=True)
class Models:
    """The folders of the newest policy and PRM; None for those that the command names."""

    policy: Path | None = None
    prm: Path | None = None


@dataclass(frozen=True)
class PartWords:
    """What the command line sets for the parts of every round."""

    collect: Sequence[str]
    train: Sequence[str]
    train_prm: Sequence[str]
    evaluate: Sequence[str]

    def get(self, part: Part) -> list[str]:
        """Return the overrides of a part."""
        words: Sequence[str] = getattr(self, part)
        return list(words)


def distribute_words(settings: ImproveConfig, overrides: Sequence[str], flags: Sequence[str]) -> PartWords:
    """Return the overrides of each part: those that its stage reads, and those with its prefix.

    The trees are grown without the PRM unless `collect:prm=` chooses one. Raises ConfigError for a setting that
    stage=improve sets itself.
    """
    shared = [override for override in overrides if get_key(override).split(".")[0] not in OWN_SETTINGS]
    own: dict[str, list[str]] = {part: [] for part in IMPROVE_PARTS}
    for part, _, override in (each.partition(":") for each in settings.parts):
        own[part].append(override)
    for override in [*shared, *chain.from_iterable(own.values())]:
        if reason := REFUSED.get(get_key(override)):
            raise ConfigError(f"{override}: stage=improve sets it: {reason}.")
    with initialize_hydra(parse_added_folders(flags, overrides)):
        common = select_overrides(shared, STAGES)
    common["train_prm"] = common["train"]
    words = {part: [*_drop_replaced(common[part], own[part]), *own[part]] for part in IMPROVE_PARTS}
    for part, split in {"collect": settings.train_split, "evaluate": settings.dev_split}.items():
        words[part][1:1] = [f"benchmark.split={split}"] if split is not None else []
    if settings.dev_tasks is not None:
        words["evaluate"].append(f"limit={settings.dev_tasks}")
    return PartWords(**words)


def _drop_replaced(words: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the overrides without those of options that the part's own overrides choose anew."""
    chosen = {get_key(word) for word in own if "." not in get_key(word)}
    return [word for word in words if not chosen & {part.split(".")[0] for part in get_key(word).split("@")}]


def use_models(words: Sequence[str], models: Models, *, is_guided: bool) -> list[str]:
    """Return overrides of a search with the newest models; `is_guided` tells whether it asks the PRM."""
    used = replace_path(words, "policy", models.policy) if models.policy else list(words)
    return replace_path(used, "prm", models.prm) if models.prm and is_guided else used


def replace_path(words: Sequence[str], group: str, path: Path | None) -> list[str]:
    """Return the overrides with another `policy.path` or `prm.path`."""
    value = quote_value(str(path)) if path is not None else "null"
    return [*(word for word in words if get_key(word) != f"{group}.path"), f"{group}.path={value}"]


def begin_with(
    words: Sequence[str], group: Literal["policy", "prm"], named: Path | None, newest: Path | None, start: str
) -> list[str]:
    """Return the overrides of a training with the weights that it begins with.

    `named` is the path in the settings, `newest` the folder of the last round's model. With `start=base` an adapter is
    left out, and a whole model that the settings name is taken again.
    """
    folder = resolve_path(group, named)
    if start == "previous" and newest is not None:
        folder = newest
    if folder is None:
        return replace_path(words, group, None)
    if not (folder / "adapter_config.json").is_file():
        return replace_path(words, group, folder)
    adapter = [f"tuning.init_adapter={quote_value(str(folder))}"] if start == "previous" else []
    return [*replace_path(words, group, None), *adapter]
