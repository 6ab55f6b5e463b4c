"""Find the prompt that training data were written with, to store it beside the trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.interfaces import ScoringPrompt
from codetool.prompts.trained_prompt import may_have_written
from codetool.stages.train.data_files import DataFile, name_data_file
from codetool.types import Task


def find_training_prompt(config: RunConfig, sources: Sequence[DataFile]) -> object | None:
    """Return the prompt of the trained model; None if the data were written with another, unknown prompt."""
    target = config.train.target
    option: Any = config.prm if target == "prm" else config.policy
    prompt = option.prompt
    first_lines = [_read_first_line(source.path, name_data_file(config)) for source in sources if source.use == "files"]
    if target == "policy":
        return prompt if all(may_have_written(prompt, [line.get("messages", [])]) for line in first_lines) else None
    if not isinstance(prompt, ScoringPrompt):
        return None
    return prompt if all(_uses_prompt(prompt, line.get("prefix", [])) for line in first_lines) else None


def _uses_prompt(prompt: ScoringPrompt, prefix: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the messages that a PRM reads before a step have this prompt's system message."""
    return _list_system_messages(prompt.prefix_messages(Task("", "", ()), ())) == _list_system_messages(prefix)


def _list_system_messages(messages: Sequence[Mapping[str, str]]) -> list[str]:
    return [message["content"] for message in messages if message["role"] == "system"]


def _read_first_line(path: Path, name: str) -> dict[str, Any]:
    """Return the decoded first line of a data file."""
    with (path / name if path.is_dir() else path).open(encoding="utf-8") as lines:
        return next((dict(json.loads(line)) for line in lines if line.strip()), {})
