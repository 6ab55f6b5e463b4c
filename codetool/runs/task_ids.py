"""Select the tasks that a command asks for: those whose ids a JSON file lists, and of them the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codetool.errors import ConfigError, MissingError
from codetool.runs.bounded_input import parse_json, read_text
from codetool.types import Task


def load_task_ids(setting: str, file: Path) -> tuple[str, ...]:
    """Return the items of the list, or the keys of the object, in a JSON file, each once.

    `setting` is the name of the setting that names the file, for messages. Raises MissingError for a missing file and
    ConfigError for a file of another kind.
    """
    if not file.exists():
        raise MissingError(f"{setting}={file}: there is no such file. Name a JSON file of task ids.")
    try:
        content = parse_json(read_text(file))
        if not isinstance(content, list | dict) or not content:
            raise ValueError("it has no ids" if content in ([], {}) else f"it holds {type(content).__name__}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{setting}={file} is no JSON file of task ids, a list or an object: {reason}") from error
    return tuple(dict.fromkeys(map(str, content)))


def select_tasks(tasks: Sequence[Task], ids: Path | None, limit: int | None) -> Sequence[Task]:
    """Return the first `limit` of the tasks, in their order; with a file `ids`, of those whose ids it lists.

    Raises MissingError without the file, and ConfigError for an id that no task has.
    """
    if ids is None:
        return tasks[:limit]
    wanted = set(load_task_ids("ids", ids))
    if unknown := sorted(wanted - {task.id for task in tasks}):
        raise ConfigError(
            f"ids={ids}: {len(unknown)} of its ids are of no task of the benchmark, such as {unknown[0]!r}. Name ids "
            "of this benchmark and split."
        )
    return [task for task in tasks if task.id in wanted][:limit]
