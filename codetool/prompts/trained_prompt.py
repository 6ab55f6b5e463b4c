"""The prompt that a model was trained with, kept in a file beside its weights so that it travels with them.

A model that was trained with one prompt and is used with another works worse, and nothing shows it. So `stage=train`
writes the file, `stage=serve_prm` tells its content, and whoever uses the model compares it with the prompt in use.

Limits: the file says what the configuration of the training named; models trained elsewhere have no file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from codetool.errors import ConfigError

FILE_NAME = "codetool_prompt.yaml"
"""Name of the file in the folder of an adapter or a model."""
FILE_HEADER = (
    "# The prompt that this model was trained with. CodeTool compares it with the one that the model is used with.\n"
)
CONFIG_GROUPS = {"prm": "prm_prompt", "policy": "policy_prompt"}
"""The folder of `conf/` that holds the named prompts of a PRM and of a policy."""
CONFIG_FOLDER = Path(__file__).parents[1] / "conf"
"""The configuration, to name prompts by; where it lies elsewhere they are named by their text."""
TEMPLATE_MARKUP = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)

RENAMED_KINDS = {"JudgePrompt": "PRMPrompt", "PairPrompt": "PairwisePRMPrompt"}
"""Former names of prompt classes, which the files of models trained earlier and older PRM servers still use."""
RENAMED_FIELDS = {"observation": "max_observation_chars", "response": "max_response_chars"}
"""Former names of prompt settings, which the same files and servers still use."""

log = logging.getLogger(__name__)


class _BlockDumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, as they stand in `conf/`."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _represent_text)

PromptRecord = Mapping[str, Any]
"""What is kept of a prompt: its `kind` (name of its class) and its `fields` (templates and limits)."""


def describe_prompt(prompt: object) -> PromptRecord | None:
    """What is kept of a prompt; None for one that is no dataclass, whose settings nobody can list."""
    if not dataclasses.is_dataclass(prompt) or isinstance(prompt, type):
        return None
    return {"kind": type(prompt).__name__, "fields": dataclasses.asdict(prompt)}


def save_prompt_record(folder: Path, prompt: object) -> None:
    """Write the file into a model's folder, where the prompt can be described."""
    if (record := describe_prompt(prompt)) is not None:
        text = FILE_HEADER + yaml.dump(
            dict(record), Dumper=_BlockDumper, sort_keys=False, allow_unicode=True, width=10_000
        )
        (folder / FILE_NAME).write_text(text, encoding="utf-8")


def load_prompt_record(folder: Path) -> PromptRecord | None:
    """What a model's folder says of its prompt; None without the file. Raises ConfigError for a damaged one."""
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}. Take it from the training's folder again.") from error
    if not is_prompt_record(record):
        raise ConfigError(f"{file} is no description of a prompt: it needs kind and fields.")
    return dict(record)


def is_prompt_record(value: object) -> TypeGuard[PromptRecord]:
    """Whether a value, of a file or a server's answer, describes a prompt."""
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("kind"), str) and isinstance(value.get("fields"), Mapping)


def explain_mismatch(group: str, source: str, trained: PromptRecord, prompt: object) -> str | None:
    """One sentence that names both prompts and what to do; None if their texts agree or cannot be compared.

    `group` is `prm` or `policy`, `source` says whose prompt `trained` is. Limits, such as the characters of an
    observation, may differ: they depend on the benchmark.
    """
    used = describe_prompt(prompt)
    trained = _use_current_names(trained)
    if used is None or not (differences := _find_differences(trained, used)):
        return None
    word = f"{CONFIG_GROUPS[group]}@{group}.prompt"
    theirs, ours = name_prompt(group, trained), name_prompt(group, used)
    remedy = f"use {word}={theirs}" if theirs in _list_options(group) else f"set {group}.prompt to it"
    return (
        f"{source} was trained with the prompt {theirs}, but {group}.prompt is {ours} "
        f"(different: {', '.join(differences)}): {remedy}, or choose another model."
    )


def name_prompt(group: str, record: PromptRecord) -> str:
    """The option in `conf/` that holds the texts of a prompt, else a checksum and the beginning of its text."""
    fields = record["fields"]
    for name in _list_options(group):
        option = yaml.safe_load((CONFIG_FOLDER / CONFIG_GROUPS[group] / f"{name}.yaml").read_text(encoding="utf-8"))
        kind = str(option.pop("_target_", "")).rpartition(".")[2]
        texts = {key: text for key, text in option.items() if isinstance(text, str) and not text.startswith("${")}
        if kind == record["kind"] and texts and all(fields.get(key) == text for key, text in texts.items()):
            return name
    digest = hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:8]
    text = " ".join(str(fields.get("system") or fields.get("instruction") or record["kind"]).split())
    return f"{digest} ({text[:40]!r}…)"


def may_have_written(prompt: object, messages: Iterable[Sequence[Mapping[str, str]]]) -> bool:
    """Whether chats may have been written with a prompt: its longest piece of fixed text occurs in the first of them.

    True where there is no chat, or the prompt has no `instruction` to look for.
    """
    instruction = getattr(prompt, "instruction", None)
    first = next(iter(messages), None)
    if not isinstance(instruction, str) or first is None:
        return True
    piece = max((part.strip() for part in TEMPLATE_MARKUP.split(instruction)), key=len)
    return any(piece in message["content"] for message in first)


def _use_current_names(record: PromptRecord) -> PromptRecord:
    """Return the record with the current names of its prompt class and of the settings."""
    fields = {RENAMED_FIELDS.get(name, name): value for name, value in record["fields"].items()}
    return {**record, "kind": RENAMED_KINDS.get(record["kind"], record["kind"]), "fields": fields}


def _list_options(group: str) -> list[str]:
    folder = CONFIG_FOLDER / CONFIG_GROUPS[group]
    return [file.stem for file in sorted(folder.glob("*.yaml"))]


def _find_differences(trained: PromptRecord, used: PromptRecord) -> list[str]:
    """Return the names of the texts in which two prompts differ. An absent text and an empty one are alike."""
    if trained["kind"] != used["kind"]:
        return [f"{trained['kind']} instead of {used['kind']}"]
    names = {**trained["fields"], **used["fields"]}
    pairs = {name: (trained["fields"].get(name), used["fields"].get(name)) for name in names}
    return [
        name
        for name, (theirs, ours) in pairs.items()
        if theirs != ours and (theirs or ours) and not _are_limits(theirs, ours)
    ]


def _are_limits(*values: object) -> bool:
    return all(isinstance(value, int) for value in values)
