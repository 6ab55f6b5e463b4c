"""What a judge is shown of a task: the query, the final answer, and the trace that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.answers.final_answer import final_answer
from codetool.types import Node, Task


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step of a trace as a template sees it."""

    text: str
    """The model's words."""
    code: str
    """What it ran: a program, or one call of a function."""
    observation: str
    """What came back, errors included."""


@dataclass(frozen=True, slots=True)
class Case:
    """An answer to be judged."""

    task_id: str
    query: str
    answer: str
    """Empty if there is none: the path is unfinished, or printed nothing."""
    tools: tuple[tuple[str, str], ...] = ()
    """Name and meaning of each tool that was offered."""
    steps: tuple[TraceStep, ...] = ()


def tools_of(task: Task) -> tuple[tuple[str, str], ...]:
    """Name and meaning of the task's tools."""
    return tuple((tool.name, tool.summary) for tool in task.tools)


def of_path(task: Task, end: Node) -> Case:
    """The case of a path that a search took."""
    return Case(task.id, task.query, final_answer(end) or "", tools_of(task), steps_of(end.path))


def of_line(line: Mapping[str, Any], nodes: Sequence[Node], task: Task | None) -> Case:
    """The case of a line of `results.jsonl`, the nodes of its tree and its task, without what is not known of them.

    An unfinished path has no answer, unless a model has composed one from it.
    """
    chosen = {node.id: node for node in nodes}
    path = [chosen[name] for name in line["path"] if name in chosen]
    tools = tools_of(task) if task else ()
    return Case(line["task_id"], line["query"], line["answer"] or "", tools, steps_of(path))


def steps_of(path: Sequence[Node]) -> tuple[TraceStep, ...]:
    """The trace of a path."""
    found = []
    for node in path:
        execution = node.execution
        seen = [execution.observation.strip(), execution.error or ""] if execution else []
        text, code = (node.step.text, node.step.code or "") if node.step else ("", "")
        found.append(TraceStep(text, code, "\n".join(part for part in seen if part)))
    return tuple(found)
