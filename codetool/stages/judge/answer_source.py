"""Load the answers that stage=judge judges, from a run folder or from ToolBench's converted answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.result_files import read_results
from codetool.judges import tooleval_answers
from codetool.judges.cases import JudgeInput
from codetool.runs import provenance
from codetool.runs.bounded_input import read_bytes
from codetool.runs.repeats import find_task_id, map_to_originals
from codetool.runs.task_ids import load_task_ids
from codetool.stages.judge.judge_run import load_judge_inputs
from codetool.stages.report import load_requested_tasks, read_settings
from codetool.types import Task

RUN_FILES = ("config.yaml", "results.jsonl")
"""Files of a run folder that answers are read from."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class AnswerSource:
    """The answers of one system."""

    name: str
    """Name of the folder; for a file the names of its folder and itself, which are the model and the group."""
    digest: str
    """Identifies these answers: the id of a run folder's result, which may grow, or a sha256 of the converted
    answers."""
    asked: tuple[str, ...]
    """Ids of the requested tasks; some may have no answer."""
    inputs: dict[str, JudgeInput]
    templates: dict[str, str | None]
    notes: tuple[str, ...] = ()
    """Remarks for the reader of the result."""
    groups: Mapping[str, str | None] = field(default_factory=dict)
    """Group of each task in its benchmark, by task id."""
    originals: Mapping[str, str] = field(default_factory=dict)
    """The benchmark's id of each task, which is another one for repeats."""

    def get_groups(self) -> dict[str, str | None]:
        """Return the group of each requested task, None if it has none."""
        return {name: self.groups.get(name) for name in self.asked}

    def get_originals(self) -> dict[str, str]:
        """Return the benchmark's id of each requested task."""
        return {name: self.originals.get(name, name) for name in self.asked}

    def get_input(self, task_id: str, query: str = "") -> JudgeInput:
        """Return the judge input of a task; its answer is empty if the source has none."""
        return self.inputs.get(task_id) or JudgeInput(task_id, query, "")

    def repeat_first_answers(self, tasks: Mapping[str, str]) -> AnswerSource:
        """Return the source with its first answer for each repeat that it was not asked for itself.

        `tasks` gives the benchmark's id of each repeat. So the repeats of one run can be compared with another run
        that has fewer.
        """
        added = {name: task for name, task in tasks.items() if name not in self.asked and task in self.asked}
        inputs = {name: replace(self.inputs[task], task_id=name) for name, task in added.items() if task in self.inputs}
        return replace(self, asked=(*self.asked, *added), inputs={**self.inputs, **inputs})


def load_answers(path: Path, option: str, limit: int | None, ids: Path | None = None) -> AnswerSource:
    """Load the answers of the first `limit` tasks from the path that the option `word` sets.

    The path is a run folder, a file of converted answers, or a folder of such files (one for each group or query).
    `ids` is the file of the requested tasks.

    Raises:
        MissingError: The path, or the file `ids`, does not exist.
        ConfigError: The path or the file holds something else.
    """
    if not path.exists():
        raise MissingError(
            f"{option}={path}: there is no such {'file' if path.suffix == '.json' else 'file or folder'}. Name a run "
            "folder, outputs/evaluate/NAME, or a .json of ToolBench's converted answers."
        )
    answers = _load_place(path, option)
    asked = answers.asked if ids is None else load_task_ids("judge_stage.ids", ids)
    return replace(answers, asked=asked[:limit])


def _load_place(path: Path, option: str) -> AnswerSource:
    if path.is_file():
        return _load_converted_file(path, option)
    if any((path / name).exists() for name in (*RUN_FILES, "metrics.json")) or not any(path.glob("*.json")):
        return _load_run_folder(path, option)
    return _load_converted_folder(path, option)


def _load_converted_file(file: Path, option: str) -> AnswerSource:
    if file.suffix != ".json":
        raise ConfigError(f"{option}={file} is no file of converted answers, which is a .json, nor a run folder")
    cases = _read_or_explain(option, tooleval_answers.load_converted_file, file)
    name = "-".join(part for part in (file.resolve().parent.name, file.stem) if part)
    return AnswerSource(name, hashlib.sha256(read_bytes(file)).hexdigest(), tuple(cases), cases, {})


def _load_converted_folder(folder: Path, option: str) -> AnswerSource:
    """Load all converted answers of a folder. A file of several queries is a group of the file's name."""
    no_run = f"{option}={folder} is no run folder: there is no {RUN_FILES[0]} in it. As a folder of converted answers"
    files = _read_or_explain(no_run, tooleval_answers.load_converted_folder, folder)
    cases = {query_id: case for cases_of_file in files.values() for query_id, case in cases_of_file.items()}
    groups = {
        query_id: file.stem
        for file, cases_of_file in files.items()
        if file.stem not in cases_of_file
        for query_id in cases_of_file
    }
    digests = [f"{file.name} {hashlib.sha256(read_bytes(file)).hexdigest()}\n" for file in files]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return AnswerSource(folder.resolve().name, digest, tuple(cases), cases, {}, groups=groups)


def _read_or_explain(context: str, read: Callable[[Path], Found], path: Path) -> Found:
    """Call `read` on a path; put the context before the message of a ConfigError."""
    try:
        return read(path)
    except ConfigError as error:
        raise ConfigError(f"{context}: {error}") from error


def _load_run_folder(folder: Path, option: str) -> AnswerSource:
    for name in RUN_FILES:
        if not (folder / name).is_file():
            raise ConfigError(
                f"{option}={folder} is no run folder: there is no {name} in it. Name one, outputs/evaluate/NAME, or a "
                "file of ToolBench's converted answers."
            )
    settings = read_settings(folder)
    notes: tuple[str, ...] = ()
    tasks: Sequence[Task] = ()
    try:
        tasks = load_requested_tasks(folder, settings)
    except (CodeToolError, OSError) as error:
        notes = (f"{folder}: the judge sees no tools, and tasks without a result are not counted: {error}",)
    try:
        cases = {
            case.task_id: case
            for case in load_judge_inputs(folder, {task.id: task for task in tasks} if tasks else None)
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{option}={folder} holds lines of another version ({error!r})") from error
    asked = tuple(task.id for task in tasks) or tuple(cases)
    templates = {task.id: task.template for task in tasks}
    groups = {task.id: task.group for task in tasks}
    result = provenance.read_provenance(folder).result
    originals = map_to_originals(tasks) or {line["task_id"]: find_task_id(line) for line in read_results(folder)}
    return AnswerSource(folder.resolve().name, result, asked, cases, templates, notes, groups, originals)
