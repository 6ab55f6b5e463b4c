"""Read and write `trained_on.yaml`: the tasks that a model was trained on, to detect overlap in later evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from codetool.errors import CodeToolError
from codetool.runs import journal
from codetool.runs.bounded_input import parse_yaml, read_text
from codetool.stages.report import load_tasks, read_settings
from codetool.types import Task

TRAINED_ON_FILE = "trained_on.yaml"
MAX_NAMES = 3
"""Maximum number of names in a warning."""


@dataclass(frozen=True)
class TrainingTasks:
    """The tasks that a model was trained and validated on."""

    tasks: frozenset[str]
    """Ids of the tasks that it was trained on."""
    validation_tasks: frozenset[str]
    """Ids of the tasks that its best checkpoint was selected by."""
    templates: frozenset[str]
    """Known templates of the tasks that it was trained on."""


def write_training_tasks(
    folder: Path,
    tasks: Iterable[str],
    validation_tasks: Iterable[str],
    data: Iterable[Path],
    earlier: Iterable[TrainingTasks] = (),
) -> None:
    """Write the file into the folder of a trained model.

    `data` are the files or folders of the examples, and `earlier` the tasks of the models that training went on from.
    """
    own, template_of = set(tasks), {name: template for path in data for name, template in _find_templates(path)}
    templates = {template_of[name] for name in own if name in template_of}
    models = [TrainingTasks(frozenset(own), frozenset(validation_tasks), frozenset(templates)), *earlier]
    content = {
        field.name: sorted({name for model in models for name in getattr(model, field.name)})
        for field in fields(TrainingTasks)
    }
    head = b"# The tasks that this model was trained and validated on, and the templates of the first.\n"
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    journal.atomic_write(folder / TRAINED_ON_FILE, [head, text.encode()])


def read_training_tasks(folder: Path) -> TrainingTasks | None:
    """Return the tasks that the model in a folder was trained on; None if the file is missing or malformed."""
    try:
        content: Any = parse_yaml(read_text(folder / TRAINED_ON_FILE))
        return TrainingTasks(*(frozenset(content[name]) for name in ("tasks", "validation_tasks", "templates")))
    except (OSError, ValueError, TypeError, LookupError):
        return None


def describe_overlap(
    trained: TrainingTasks, tasks: Mapping[str, Task], model: str = "the PRM", *, with_templates: bool = True
) -> Iterator[str]:
    """Yield a warning for each kind of overlap between the evaluated `tasks` and the training of a model.

    Without `with_templates`, other tasks of the same templates are not told.
    """
    trained_ids = [task_id for task_id in tasks if task_id in trained.tasks]
    if trained_ids:
        count, names = _format_count(trained_ids, tasks), _list_some(trained_ids)
        yield f"{count} are among those that {model} was trained on ({names})"
    validation_ids = [task_id for task_id in tasks if task_id in trained.validation_tasks]
    if validation_ids:
        count, names = _format_count(validation_ids, tasks), _list_some(validation_ids)
        yield f"{count} are among those that the training of {model} was validated on ({names})"
    rest = {task_id: task.template for task_id, task in tasks.items() if task_id not in trained.tasks}
    same_template = [task_id for task_id, template in rest.items() if template in trained.templates]
    if same_template and with_templates:
        names = _list_some(sorted({str(rest[task_id]) for task_id in same_template}))
        yield f"{_format_count(same_template, tasks)} come from templates that {model} was trained on ({names})"


def _format_count(some: Sequence[str], tasks: Mapping[str, Task]) -> str:
    return f"{len(some):,} of {len(tasks):,} tasks"


def _list_some(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")


def _find_templates(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and template of each task of a stage=collect folder, or of a file; nothing if unknown."""
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.yaml").is_file():
        yield from _read_templates(path)
        return
    try:
        tasks = load_tasks(folder, read_settings(folder))
    except (CodeToolError, OSError):
        return
    for task in tasks:
        if task.template is not None:
            yield task.id, task.template


def _read_templates(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and template of each line that names both, as those of generated transcripts do."""
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, TypeError, LookupError):
                record = json.loads(line)
                yield str(record["task_id"]), str(record["template"])
