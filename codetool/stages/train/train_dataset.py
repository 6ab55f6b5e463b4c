"""Load the inputs of stage=train: find_or_build the base model, encode the labels, read and tokenize the examples."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError, MissingError
from codetool.interfaces import ScoringPrompt, Trainable, TrainablePRM
from codetool.model_types import ProcessExample
from codetool.models.chat_template import ChatTokenizer
from codetool.models.locate import ADAPTERS_FOLDER, ModelFolders
from codetool.prm.label_tokens import find_label_tokens
from codetool.process_data import examples as process_examples
from codetool.stages.train.data_files import READERS, name_data_file
from codetool.types import Task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from codetool.training.sft_examples import SFTExample
    from codetool.training.step_loss import StepLoss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedLabels:
    """A PRM's two labels as tokens."""

    tokens: tuple[int, int]
    tokenizer: Tokenizer | None
    """The extended tokenizer if the labels are new tokens; None if the model has them."""
    vocabulary: int
    """Vocabulary size of the extended tokenizer; 0 without one."""


@dataclass(frozen=True)
class TrainDataset:
    """Tokenized examples for training and validation."""

    training: list[SFTExample]
    validation: list[SFTExample]
    judged: list[ProcessExample]
    """Process examples of the validation, without their prefixes; `Example.number` is an index into them."""
    tasks: tuple[int, int]
    """Number of tasks to train on and to validate on."""
    too_long: int
    """Number of examples left out because of their length."""
    step_loss: StepLoss | None = None
    """Loss of a policy's steps; None for the cross-entropy of the targets."""
    summary: str = ""
    """A line about the examples to print; empty if there is nothing to say."""


def find_base_model(config: RunConfig) -> ModelFolders:
    """Find the model that training starts from. Raises ConfigError if the options name no trainable model."""
    folders: ModelFolders = check_trainable(config).find_trainable_model()
    return folders


def check_trainable(config: RunConfig) -> Any:
    """Return the option whose model is trained. Raises ConfigError if it names none."""
    target = config.train.target
    option: Any = config.prm if target == "prm" else config.policy
    if not isinstance(option, TrainablePRM if target == "prm" else Trainable):
        choices = "prm=smollm2, prm=qwen7b or prm=llama8b" if target == "prm" else "policy=smollm2 or policy=qwen7b"
        raise ConfigError(f"train.target={target}: {target}= names no model that can be trained. Choose {choices}.")
    return option


def find_initial_adapter(config: RunConfig) -> Path | None:
    """Find the folder of the adapter to continue from; None for a new one. Raises ConfigError and MissingError."""
    named = config.tuning.init_adapter
    if named is None:
        return None
    if config.tuning.method == "full":
        raise ConfigError(
            f"tuning.init_adapter={named} is an adapter, and tuning=full trains none. Choose tuning=lora, or name a "
            f"merged model: {config.train.target}.path=FOLDER/merged."
        )
    folder: Path = ADAPTERS_FOLDER / named if len(named.parts) == 1 and (ADAPTERS_FOLDER / named).is_dir() else named
    if not (folder / "adapter_config.json").is_file():
        own = ", ".join(sorted(each.name for each in ADAPTERS_FOLDER.iterdir() if each.is_dir()))
        raise MissingError(
            f"tuning.init_adapter={named} has no adapter_config.json. Name a PEFT adapter's folder, or {own}."
        )
    return folder


def encode_labels(config: RunConfig, base: Path) -> EncodedLabels | None:
    """Return the labels of a PRM as tokens; None for a policy. Raises ConfigError if the model has no such tokens."""
    if config.train.target == "policy":
        return None
    prm: Any = config.prm
    label_texts = prm.labels
    if not config.train.add_label_tokens:
        return EncodedLabels(find_label_tokens(label_texts, ChatTokenizer(base).tokenize, prm.model), None, 0)
    from codetool.training.new_label_tokens import add_label_tokens

    if config.tuning.method != "full":
        raise ConfigError(
            f"train.add_label_tokens=true needs tuning=full: the rows of new tokens are whole weights, which an "
            f"adapter of tuning={config.tuning.method} does not hold. Or leave it out and name words of the model's "
            "own, prm.labels=[yes,no]."
        )
    made = add_label_tokens(base, label_texts)
    known = made.get_vocab()
    return EncodedLabels((known[label_texts[0]], known[label_texts[1]]), made, made.get_vocab_size())


def check_objective(config: RunConfig) -> None:
    """Raise ConfigError if an objective of policies is chosen for a PRM."""
    if config.train.target == "prm" and not config.objective.is_unhashed():
        raise ConfigError(
            "objective= is what a policy learns, and train.target=prm trains a PRM, whose loss is train.loss. Choose "
            "train.target=policy, or leave objective=sft."
        )


def load_dataset(config: RunConfig, base: Path, found: EncodedLabels | None) -> TrainDataset:
    """Read and tokenize the examples. Raises ConfigError if there are none left to train on."""
    from codetool.stages.train.prm_targets import check_sees_observation, choose_targets, explain_missing_targets
    from codetool.training.sft_examples import build_prm_examples

    settings, tokens = config.train, ChatTokenizer(base)
    longest = min(settings.max_length, _read_context_size(base))
    if found is None:
        return _load_policy_dataset(config, tokens, longest)
    some, held = _split_tasks(config, process_examples.load_examples)
    prm: Any = config.prm
    _warn_about_other_prompt(some, prm.prompt)
    sees = check_sees_observation(prm, [*some, *held])
    training, validation = (
        list(build_prm_examples(each, prm.prompt, tokens, choose_targets(each, settings), sees_observation=sees))
        for each in (some, held)
    )
    steps = _load_tree_examples(settings.val_files or settings.files, {each.task_id for each in held})
    kept, held_back = (
        [each for each in every if len(each.tokens) <= longest and each.targets] for every in (training, validation)
    )
    too_long = len(training) + len(validation) - len(kept) - len(held_back)
    if not kept:
        why = f"all {len(training)} are longer than {longest} tokens (train.max_length)"
        raise NoExamplesError(why if training else explain_missing_targets(settings))
    return TrainDataset(kept, held_back, steps, (_count_tasks(some), _count_tasks(held)), too_long)


def _load_policy_dataset(config: RunConfig, tokenizer: ChatTokenizer, longest: int) -> TrainDataset:
    """Return the examples of a policy, as its objective makes them of all tasks at once."""
    some, held = _split_tasks(config, READERS[config.objective.data_file])
    made = config.objective.build_examples([*some, *held], tokenizer, longest)
    held_tasks = {record.task_id for record in held}
    training = [example for example in made.examples if example.task_id not in held_tasks]
    validation = [example for example in made.examples if example.task_id in held_tasks]
    if not training:
        raise NoExamplesError(made.reason)
    tasks = _count_tasks(some), _count_tasks(held)
    return TrainDataset(training, validation, [], tasks, made.too_long, made.loss, made.summary)


class NoExamplesError(ConfigError):
    """There is nothing to train on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"train.files: there is no example to learn from: {reason}.")


def list_task_ids(config: RunConfig) -> tuple[list[str], list[str]]:
    """Return the task ids of the examples to train on and to validate on."""
    some, held = _split_tasks(config, READERS[name_data_file(config)])
    return [each.task_id for each in some], [each.task_id for each in held]


def _warn_about_other_prompt(examples: Sequence[ProcessExample], prompt: ScoringPrompt) -> None:
    """Log a warning if the data were written with another prompt than the PRM's."""
    own_messages = prompt.prefix_messages(Task("", "", ()), ())
    own = {message["content"] for message in own_messages if message["role"] == "system"}
    given = {message["content"] for each in examples[:1] for message in each.prefix if message["role"] == "system"}
    if given - own:
        log.warning(
            "The data have another prompt than the PRM, and it would be asked otherwise than it is trained. Theirs "
            "begins %r, prm.prompt %r. stage=collect writes them anew, without a model: "
            "prm_prompt@collect.prompt=NAME.",
            shorten(given.pop(), 60),
            shorten(" ".join(own), 60),
        )


def _load_tree_examples(paths: Sequence[Path], tasks: Set[str]) -> list[ProcessExample]:
    """Return the examples of these tasks without prefixes; a task's trees in two files get different task ids."""
    files = (process_examples.load_examples((path,)) for path in paths)
    return [
        replace(each, task_id=f"{number} {each.task_id}", prefix=())
        for number, some in enumerate(files)
        for each in some
        if each.task_id in tasks
    ]


def _count_tasks(items: Sequence[Any]) -> int:
    return len({item.task_id for item in items})


def _split_tasks(config: RunConfig, read: Any) -> tuple[list[Any], list[Any]]:
    """Split the items of the first `limit` tasks by task into training and validation."""
    settings = config.train
    items = read(settings.files)
    ids = list(dict.fromkeys(item.task_id for item in items))[: config.limit]
    if settings.val_files:
        held = read(settings.val_files)
        if both := sorted({item.task_id for item in held} & set(ids)):
            raise ConfigError(
                f"train.val_files: the task {both[0]} and {len(both) - 1} more are in train.files too; a "
                "validation on what was learned says nothing."
            )
        return _select_tasks(items, ids), held
    count = min(len(ids) - 1, max(1, round(settings.val_fraction * len(ids)))) if settings.val_fraction else 0
    chosen = set(random.Random(f"{config.seed} validation").sample(ids, count))
    return _select_tasks(items, [each for each in ids if each not in chosen]), _select_tasks(items, chosen)


def _select_tasks(items: Sequence[Any], ids: Any) -> list[Any]:
    wanted = set(ids)
    return [item for item in items if item.task_id in wanted]


def _read_context_size(base: Path) -> int:
    config: Mapping[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or 2**31)
