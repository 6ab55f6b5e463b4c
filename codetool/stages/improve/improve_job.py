"""The checked inputs of stage=improve: the overrides of its parts, the drawn tasks, and the identity of the result."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from rich.console import Console

from codetool.config.invocation import invoke, list_added_words
from codetool.config.read_conditions import read_other_values
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.interfaces import TrainablePRM
from codetool.runs.identity import Identity, select_identity_settings
from codetool.stages.evaluate.run_identity import compute_identity
from codetool.stages.improve.objective import list_objective_words
from codetool.stages.improve.part_words import Part, PartWords, distribute_words
from codetool.stages.improve.settings import ImproveConfig
from codetool.stages.improve.unread_words import refuse_unread
from codetool.stages.train.train_dataset import check_trainable
from codetool.types import Task

TRAINING_BLOCKS = ("train", "objective", "tuning", "optimizer", "scheduler", "callback", "trainer")
"""Blocks of settings that determine trained weights."""
TARGETS: Mapping[str, str] = {"train": "policy", "train_prm": "prm"}
"""Value of `train.target` for each training of a round."""


@dataclass(frozen=True)
class ImproveJob:
    """The checked inputs of all rounds."""

    config: RunConfig
    words: PartWords
    flags: Sequence[str]
    tasks: Sequence[str]
    """Ids of all train tasks in the order in which rounds draw them."""
    dev_tasks: Sequence[Task]
    paths: Mapping[str, Path | None]
    """`policy.path`, and `prm.path` if the PRM is trained."""
    guided: Collection[str]
    """The searches, `collect` or `evaluate`, that ask a PRM which could be trained."""
    identity: Identity
    console: Console

    @property
    def settings(self) -> ImproveConfig:
        """The settings of the stage."""
        settings: ImproveConfig = self.config.improve
        return settings

    @property
    def trains_prm(self) -> bool:
        """Whether each round trains the PRM as well."""
        return self.settings.prm == "train"

    def draw_tasks(self, number: int) -> Sequence[str]:
        """Return the ids of the train tasks of a round, from 1 on."""
        count = self.settings.tasks
        return self.tasks[(number - 1) * count : number * count]


def check_job(config: RunConfig, console: Console) -> ImproveJob:
    """Check the settings of all parts and return the inputs of the rounds. Raises CodeToolError."""
    settings: ImproveConfig = config.improve
    flags = [word for word in list_added_words() if word.startswith("--config-dir")]
    overrides = [*list_added_words(), *HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    words = distribute_words(settings, [word for word in overrides if word not in flags], flags)
    hashed, paths = _check_trainings(settings, words, overrides, flags)
    guided, checksums = set[str](), dict[str, str]()
    tasks: dict[str, Sequence[Task]] = {}
    searches: tuple[Part, ...] = ("collect", "evaluate")
    for part in searches:
        with invoke_part(part, words.get(part), flags) as (search, choices):
            identity = compute_identity(search, choices)
            hashed[part] = {**identity.settings, "labels": search.settings.get("collect")}
            checksums |= {f"{part} {name}": value for name, value in identity.checksums.items()}
            guided |= {part} if isinstance(search.prm, TrainablePRM) else set()
            tasks[part] = search.benchmark.tasks()
    dev_tasks = select_dev_tasks(settings, tasks["evaluate"])
    drawn = shuffle_tasks([task.id for task in tasks["collect"]], dev_tasks, settings, config.seed)
    own = select_identity_settings(config, {}, ("stage", "seed", "improve"))
    identity = Identity({**own, **hashed}, checksums)
    return ImproveJob(config, words, flags, drawn, dev_tasks, paths, guided, identity, console)


def _check_trainings(
    settings: ImproveConfig, words: PartWords, overrides: Sequence[str], flags: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Path | None]]:
    """Check the trainings; return the settings that determine their weights by part, and `policy.path` and `prm.path`.

    Raises ConfigError if a model cannot be trained, or if no training reads one of the command's `overrides`.
    """
    policy = ["stage=train", *list_objective_words(settings), *words.train[1:], "train.target=policy"]
    with invoke_part("train", policy, flags) as (config, choices):
        _check_policy(config)
        trainings = {"train": read_other_values(config.settings)}
        hashed = {"train": select_identity_settings(config, choices, TRAINING_BLOCKS)}
        paths = {"policy": _get_path(config.policy)}
    if settings.prm == "train":
        with invoke_part("train_prm", [*words.train_prm, "train.target=prm"], flags) as (config, choices):
            _check_prm(config)
            trainings["train_prm"] = read_other_values(config.settings)
            hashed["train_prm"] = select_identity_settings(config, choices, (*TRAINING_BLOCKS, "prm"))
            paths["prm"] = _get_path(config.prm)
    refuse_unread(settings, overrides, trainings)
    return hashed, paths


@contextmanager
def invoke_part(part: Part, words: Sequence[str], flags: Sequence[str]) -> Iterator[tuple[RunConfig, dict[str, str]]]:
    """Yield the settings and the chosen options of a part; messages about wrong settings begin with the part's name."""
    with ExitStack() as stack:
        try:
            composed = stack.enter_context(invoke(words, flags))
        except ConfigError as error:
            raise ConfigError("\n".join(f"{part}: {line}" for line in str(error).splitlines())) from error
        yield composed


def _get_path(option: Any) -> Path | None:
    path = getattr(option, "path", None)
    return path if isinstance(path, Path) else None


def _is_served_elsewhere(option: Any) -> bool:
    return getattr(option, "backend", None) == "endpoint" or getattr(option, "base_url", None) is not None


def _check_policy(config: RunConfig) -> None:
    """Raise ConfigError if the policy cannot be trained, or if what is trained is not what would be asked."""
    option = check_trainable(config)
    if _is_served_elsewhere(option):
        raise ConfigError(
            f"policy.backend={option.backend}: stage=improve trains the policy and then asks it, and an endpoint "
            "serves weights of its own. Choose policy.backend=transformers or vllm, without policy.base_url."
        )


def _check_prm(config: RunConfig) -> None:
    """Raise ConfigError if the PRM cannot be trained, or if what is trained is not what would be asked."""
    try:
        option = check_trainable(config)
    except ConfigError as error:
        raise ConfigError(f"improve.prm=train: {error}") from error
    if hasattr(option, "check_trainable"):
        option.check_trainable()
    if _is_served_elsewhere(option):
        raise ConfigError(
            f"improve.prm=train: prm.backend={option.backend} serves weights of its own, so that a trained PRM would "
            "not be asked. Choose prm.backend=transformers or vllm, without prm.base_url."
        )


def shuffle_tasks(ids: Sequence[str], dev_tasks: Sequence[Task], settings: ImproveConfig, seed: int) -> list[str]:
    """Return the train tasks, without those of dev, in the order of the draws. Raises ConfigError if there are too few.

    A benchmark without splits has the same tasks for both.
    """
    of_dev = {task.id for task in dev_tasks}
    left = [task_id for task_id in ids if task_id not in of_dev]
    wanted = settings.rounds * settings.tasks
    if wanted > len(left):
        split = f"benchmark.split={settings.train_split}" if settings.train_split else "the benchmark"
        raise ConfigError(
            f"improve.tasks={settings.tasks}: with improve.rounds={settings.rounds} that is {wanted:,} tasks, and "
            f"{split} has {len(left):,} that are not evaluated on. Choose fewer tasks or rounds."
        )
    return random.Random(f"{seed} improve").sample(left, len(left))


def select_dev_tasks(settings: ImproveConfig, tasks: Sequence[Task]) -> Sequence[Task]:
    """Return the tasks of an evaluation. Raises ConfigError if there are too few, or if none can be checked."""
    if settings.dev_tasks is not None and settings.dev_tasks > len(tasks):
        raise ConfigError(
            f"improve.dev_tasks={settings.dev_tasks}: improve.dev_split={settings.dev_split} has {len(tasks):,} tasks. "
            "Choose fewer, or null for all."
        )
    selected = tasks[: settings.dev_tasks]
    if not any(task.answer is not None for task in selected):
        raise ConfigError(
            f"improve.dev_split={settings.dev_split}: none of its tasks has an answer to check, so that no round could "
            "be told from another."
        )
    return selected
