"""The answers that stage=judge has judged: those of a run folder, or of a file of ToolBench's converted answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codetool.errors import CodeToolError, ConfigError
from codetool.evaluation import converted
from codetool.evaluation.cases import Case
from codetool.stages.judging import cases_of
from codetool.stages.report import settings_of, tasks_of
from codetool.types import Task


@dataclass(frozen=True)
class Answers:
    """The answers of one system."""

    name: str
    """Of the run folder; of a file its folder and its own, which are model and group."""
    known: str
    """What tells these answers from others: where a run folder lies, or a file's sha256."""
    asked: tuple[str, ...]
    """Ids of the tasks asked for; some may have no case."""
    cases: dict[str, Case]
    templates: dict[str, str | None]
    notes: tuple[str, ...] = ()
    """What a reader has to know of them."""
    groups: Mapping[str, str | None] = field(default_factory=dict)
    """The group of a task in its benchmark."""

    def groups_of_asked(self) -> dict[str, str | None]:
        """The group of each task asked for, None where it has none."""
        return {name: self.groups.get(name) for name in self.asked}

    def case(self, task_id: str, query: str = "") -> Case:
        """The case of a task, one without an answer where there is none."""
        return self.cases.get(task_id) or Case(task_id, query, "")


def load(place: Path, word: str, limit: int | None, ids: Path | None = None) -> Answers:
    """The answers at a place that an option names; of the first `limit` tasks only.

    `ids` names the file of the tasks asked for. Raises ConfigError for a place or a file that holds something else.
    """
    found = _of_file(place, word) if place.is_file() else _of_folder(place, word)
    asked = found.asked if ids is None else _ids(ids)
    return replace(found, asked=asked[:limit])


def _of_file(file: Path, word: str) -> Answers:
    if file.suffix != ".json":
        raise ConfigError(f"{word}={file} is no file of converted answers, which is a .json, nor a run folder")
    cases = converted.read(file)
    name = "-".join(part for part in (file.resolve().parent.name, file.stem) if part)
    return Answers(name, hashlib.sha256(file.read_bytes()).hexdigest(), tuple(cases), cases, {})


def _of_folder(folder: Path, word: str) -> Answers:
    for name in ("config.yaml", "results.jsonl"):
        if not (folder / name).is_file():
            raise ConfigError(
                f"{word}={folder} is no run folder: there is no {name} in it. Name one, outputs/evaluate/NAME, or a "
                "file of ToolBench's converted answers."
            )
    settings = settings_of(folder)
    notes: tuple[str, ...] = ()
    tasks: Sequence[Task] = ()
    try:
        tasks = tasks_of(folder, settings)[: settings.get("limit")]
    except (CodeToolError, OSError) as error:
        notes = (f"{folder}: the judge sees no tools, and tasks without a result are not counted: {error}",)
    try:
        cases = {case.task_id: case for case in cases_of(folder, {task.id: task for task in tasks} if tasks else None)}
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{word}={folder} holds lines of another version ({error!r})") from error
    asked = tuple(task.id for task in tasks) or tuple(cases)
    templates = {task.id: task.template for task in tasks}
    groups = {task.id: task.group for task in tasks}
    return Answers(folder.resolve().name, str(folder.resolve()), asked, cases, templates, notes, groups)


def _ids(file: Path) -> tuple[str, ...]:
    """The ids in a file: a list of them, or an object whose keys they are."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, list | dict) or not content:
            raise ValueError(f"it holds {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"judged.ids={file} is no JSON file of query ids, a list or an object: {error}") from error
    return tuple(dict.fromkeys(map(str, content)))
