"""Repeats: several searches of the same task in one run, to measure how much the answer depends on chance.

Each repeat is a task of its own in every file of a run. The first one has the id of the task, and number k of task
`dev-1` has the id `dev-1#k`. Random draws are seeded by the id, so the repeats of a task are independent of each other,
and the first one is the search of a run without repeats. A result line has the number as `repeat`, from 2 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from codetool.errors import ConfigError
from codetool.types import Task

SEPARATOR = "#"


def repeat_tasks(tasks: Sequence[Task], repeats: int) -> list[Task]:
    """Return every task `repeats` times, the repeats of a task one after the other.

    Raises ConfigError if the id of a repeat is that of another task.
    """
    repeated = [_make_repeat(task, number) for task in tasks for number in range(1, repeats + 1)]
    if taken := {task.id for task in repeated if task.repeat > 1} & {task.id for task in tasks}:
        raise ConfigError(
            f"repeats={repeats}: the benchmark has a task {min(taken)!r}, which would be the name of a repeat. Use "
            f"repeats=1, or give the benchmark's tasks ids that do not end with {SEPARATOR} and a number."
        )
    return repeated


def get_original(task: Task) -> Task:
    """Return the task as the benchmark has it."""
    return task if task.repeat == 1 else replace(task, id=get_original_id(task), repeat=1)


def get_original_id(task: Task) -> str:
    """Return the id that the benchmark has for the task."""
    return _remove_number(task.id, task.repeat)


def find_task_id(line: Mapping[str, Any]) -> str:
    """Return the id that the benchmark has for the task of a result line."""
    return _remove_number(str(line["task_id"]), get_repeat(line))


def get_repeat(line: Mapping[str, Any]) -> int:
    """Return the number of the repeat that a result line is of, from 1 on."""
    return int(line.get("repeat", 1))


def name_repeat(task_id: str, originals: Mapping[str, str]) -> dict[str, str | int]:
    """Return the fields of a result line that name a repeat; `originals` gives the benchmark's id of each."""
    number = task_id.removeprefix(f"{originals.get(task_id, task_id)}{SEPARATOR}")
    return {"task_id": task_id} | ({"repeat": int(number)} if number != task_id else {})


def map_to_originals(tasks: Iterable[Task]) -> dict[str, str]:
    """Return the id that the benchmark has for each task, by the id in the files of a run."""
    return {task.id: get_original_id(task) for task in tasks}


def _make_repeat(task: Task, number: int) -> Task:
    return task if number == 1 else replace(task, id=f"{task.id}{SEPARATOR}{number}", repeat=number)


def _remove_number(task_id: str, number: int) -> str:
    return task_id if number == 1 else task_id.removesuffix(f"{SEPARATOR}{number}")
