"""The record of the prompt that a model was trained with, stored in a file beside its weights.

A model that is used with another prompt than the one it was trained with performs worse, without any error. So
`stage=train` writes the file, `stage=serve_prm` serves its content, and the policy and the PRM compare it with the
prompt in use.

Limits: models that were not trained by this package have no file.
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
"""For each group, the folder of `conf/` that holds its named prompts."""
CONFIG_FOLDER = Path(__file__).parents[1] / "conf"
"""Folder of the named prompts. If it does not exist, messages quote a prompt's text instead of its name."""
TEMPLATE_MARKUP = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)

RENAMED_KINDS = {"JudgePrompt": "PRMPrompt", "PairPrompt": "PairwisePRMPrompt"}
"""Former names of prompt classes, which the files of models trained earlier and older PRM servers still use."""
RENAMED_FIELDS = {"observation": "max_observation_chars", "response": "max_response_chars"}
"""Former names of prompt settings, which the same files and servers still use."""

log = logging.getLogger(__name__)


class _BlockDumper(yaml.SafeDumper):
    """YAML dumper that writes multi-line texts as blocks, like the files in `conf/`."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_BlockDumper.add_representer(str, _represent_text)

PromptRecord = Mapping[str, Any]
"""Description of a prompt: its `kind` (class name) and its `fields` (templates and limits); `sees_observation` is true
for a PRM that was trained to read what the step did."""


def describe_prompt(prompt: object) -> PromptRecord | None:
    """Return the record of a prompt, or None if it is not a dataclass, whose fields are unknown."""
    if not dataclasses.is_dataclass(prompt) or isinstance(prompt, type):
        return None
    return {"kind": type(prompt).__name__, "fields": dataclasses.asdict(prompt)}


def save_prompt_record(folder: Path, prompt: object, *, sees_observation: bool = False) -> None:
    """Write the record of a prompt into a model's folder, unless the prompt cannot be described."""
    if (record := describe_prompt(prompt)) is not None:
        content = {**record, "sees_observation": True} if sees_observation else dict(record)
        text = FILE_HEADER + yaml.dump(content, Dumper=_BlockDumper, sort_keys=False, allow_unicode=True, width=10_000)
        (folder / FILE_NAME).write_text(text, encoding="utf-8")


def load_prompt_record(folder: Path) -> PromptRecord | None:
    """Load the prompt record from a model's folder; None without the file. Raises ConfigError if it is damaged."""
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
    """Return whether a value read from a file or a server's answer is a prompt record."""
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("kind"), str) and isinstance(value.get("fields"), Mapping)


def explain_mismatch(group: str, source: str, trained: PromptRecord, prompt: object) -> str | None:
    """Return one sentence that names both prompts and the remedy; None if the texts agree or cannot be compared.

    `group` is `prm` or `policy`; `source` names the model in the message. Numeric limits, such as the characters of an
    observation, may differ because they depend on the benchmark.
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


def explain_other_observation(source: str, trained: PromptRecord, *, sees_observation: bool) -> str | None:
    """Return one sentence that says whether `source` was trained to read what a step did; None if it is used so."""
    learned = trained.get("sees_observation") is True
    if learned == sees_observation:
        return None
    said = "what the scored step did" if learned else "steps before they ran"
    remedy = f"set prm.sees_observation={str(learned).lower()}"
    return f"{source} was trained to read {said}: {remedy}, or choose another model."


def name_prompt(group: str, record: PromptRecord) -> str:
    """Return the name of the option in `conf/` with the same texts, else a checksum and the start of the text."""
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
    """Return whether chats may have been rendered with a prompt: the first contains its longest fixed piece of text.

    Return True if there is no chat or the prompt has no `instruction`.
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
