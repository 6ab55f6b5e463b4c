"""What every export of rollout trees to another trainer shares: its input, its settings, and how it writes rows.

An export is a module here with one function, `write_export`, a `TreeExport`; `codetool.config.export_formats` gives it
its name. A row is one line of JSON, since all these trainers read JSONL by `datasets.load_dataset("json", …)`: every
row of a file has the same keys, and a value the same type in each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from codetool.interfaces import Prompt, ScoringPrompt
from codetool.model_types import ProcessExample
from codetool.process_data.rollouts import Rollout
from codetool.prompts.messages import Message
from codetool.runs import journal
from codetool.types import Node, Task


@dataclass(frozen=True, slots=True)
class LabelledTree:
    """A rollout tree with the process examples that were made of it."""

    index: int
    """Number of the tree among those of the run, from 0."""
    rollout: Rollout
    examples: tuple[ProcessExample, ...]
    """An example for each step that has an estimate, in the tree's order."""
    kept: tuple[ProcessExample, ...]
    """Those that `process.jsonl` holds."""
    left_out: bool = False
    """Whether the task is left out because no leaf succeeds (`collect.keep_unsolved=false`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """What an export needs to know of the run beside its trees."""

    benchmark: str
    """Name of the benchmark."""
    split: str
    """Part of the benchmark, empty if it has none."""
    model: str
    """Name of the policy's model."""
    policy_prompt: Prompt
    prm_prompt: ScoringPrompt
    estimator: Literal["hard", "soft"]
    """The estimate that tells siblings apart."""
    max_transcripts: int
    """Highest number of successful paths of a task that a policy learns from."""


class TreeExport(Protocol):
    """The function `write_export` of an export."""

    def __call__(self, folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
        """Write the files into an empty folder, and return the number of rows. `trees` is iterated over once."""
        ...


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as lines of JSON, and return their number; if the process is killed, no part of the file is left."""
    count = 0

    def encode() -> Iterable[bytes]:
        nonlocal count
        for row in rows:
            yield encode_row(row)
            count += 1

    file.parent.mkdir(parents=True, exist_ok=True)
    journal.atomic_write(file, encode())
    return count


def encode_row(row: Mapping[str, Any]) -> bytes:
    """Return a line of JSON in UTF-8. Half a surrogate pair, which Arrow's reader refuses, becomes a question mark."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def render_step(prompt: Prompt, task: Task, node: Node) -> tuple[list[Message], list[Message]]:
    """Return the messages that ask a policy for a step, and the step itself as a list of one assistant message."""
    asked = prompt.messages(task, node.path[:-1])
    return asked, prompt.messages(task, node.path)[len(asked) : len(asked) + 1]


def render_path(prompt: Prompt, task: Task, leaf: Node) -> tuple[list[Message], list[Message]]:
    """Return the messages that ask for the first step of a path, and all later messages up to its last step."""
    first = prompt.messages(task, ())
    return first, prompt.messages(task, leaf.path)[len(first) : -1]


def count_samples(leaf: Node) -> int:
    """Return how often a path was sampled: the product of the multiplicities of its steps."""
    samples = 1
    for node in leaf.path:
        samples *= node.multiplicity
    return samples


def format_answer(task: Task) -> str:
    """Return a task's reference answer as JSON text with `type` and `value`; empty where it has none."""
    if task.answer is None:
        return ""
    return json.dumps({"type": task.answer.type, "value": task.answer.value}, ensure_ascii=False)
