"""What a judge is shown of a task: the query, the final answer, and the trace that led to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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
class JudgeInput:
    """An answer to be judged."""

    task_id: str
    query: str
    answer: str
    """Empty if there is none: the path is unfinished, or printed nothing."""
    tools: tuple[tuple[str, str], ...] = ()
    """Name and meaning of each tool that was offered."""
    steps: tuple[TraceStep, ...] = ()

    @classmethod
    def from_path(cls, task: Task, end: Node) -> Self:
        """The input for the path of a search tree that ends at the node `end`."""
        return cls(task.id, task.query, final_answer(end) or "", list_tools(task), list_trace_steps(end.path))

    @classmethod
    def from_result(cls, line: Mapping[str, Any], nodes: Sequence[Node], task: Task | None) -> Self:
        """The input for a line of `results.jsonl`, the nodes of the task's tree and the task.

        Without nodes it has no steps, and without a task no tools. An unfinished path has no answer, unless a model
        has composed one from it.
        """
        nodes_by_id = {node.id: node for node in nodes}
        path = [nodes_by_id[node_id] for node_id in line["path"] if node_id in nodes_by_id]
        tools = list_tools(task) if task else ()
        return cls(line["task_id"], line["query"], line["answer"] or "", tools, list_trace_steps(path))


def list_tools(task: Task) -> tuple[tuple[str, str], ...]:
    """Name and meaning of the task's tools."""
    return tuple((tool.name, tool.summary) for tool in task.tools)


def list_trace_steps(path: Sequence[Node]) -> tuple[TraceStep, ...]:
    """The trace of a path."""
    found = []
    for node in path:
        execution = node.execution
        seen = [execution.observation.strip(), execution.error or ""] if execution else []
        text, code = (node.step.text, node.step.code or "") if node.step else ("", "")
        found.append(TraceStep(text, code, "\n".join(part for part in seen if part)))
    return tuple(found)
