"""Input of the LLM judge: a task's query, its final answer, and the trace of steps that led to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from codetool.answers.final_answer import extract_path_answer
from codetool.types import Node, Task


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step of a trace as a template sees it."""

    text: str
    """Text that the model wrote."""
    code: str
    """Code that the step ran: a program, or one call of a function."""
    observation: str
    """Output of the code, error messages included."""


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """One answer to be judged."""

    task_id: str
    query: str
    answer: str
    """The final answer; empty if the path is unfinished or printed nothing."""
    tools: tuple[tuple[str, str], ...] = ()
    """Name and description of each tool that was offered."""
    steps: tuple[TraceStep, ...] = ()

    @classmethod
    def from_path(cls, task: Task, end: Node) -> Self:
        """The input for the path of a search tree that ends at the node `end`."""
        return cls(task.id, task.query, extract_path_answer(end) or "", list_tools(task), list_trace_steps(end.path))

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
    """Return the name and description of each of the task's tools."""
    return tuple((tool.name, tool.summary) for tool in task.tools)


def list_trace_steps(path: Sequence[Node]) -> tuple[TraceStep, ...]:
    """Return the steps of a path as a judge's template reads them."""
    steps = []
    for node in path:
        execution = node.execution
        outputs = [execution.observation.strip(), execution.error or ""] if execution else []
        text, code = (node.step.text, node.step.code or "") if node.step else ("", "")
        steps.append(TraceStep(text, code, "\n".join(part for part in outputs if part)))
    return tuple(steps)
