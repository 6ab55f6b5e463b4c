"""The transcript of a path, as chat messages.

A path only ever extends its messages: what is sent after step k+1 starts with exactly what was sent after step k, and
siblings share all of it. Prefix caches, batched scoring and packed training rely on this. The words are templates
that live in `conf/prompt/`; the markers are fixed here because parsers, scripted servers and trained models know them.

Limits: observations are cut at a number of characters, tool documents are not; a prompt may exceed a model's context.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from codetool.types import Node, Task

Message = dict[str, str]
"""One chat message: `role` (user or assistant) and `content`."""

ALL_FINISHED = "[All Finished]"
"""Marks the last step of a path; it stands before the step's own closing marker."""

_MARKERS = re.compile(
    r"^#+\s*Step\s*\d+\s*:?|\[Step\s*\d+\s*Finished\]|\[All\s+Finished\]|^[ \t]*Python Code:[ \t]*$", re.MULTILINE
)


def closing(k: int) -> str:
    """The marker that closes step k (one-based); also the stop string of its generation."""
    return f"[Step {k} Finished]"


def words(text: str) -> str:
    """The text of a step without its markers, stripped: the answer of a final step that has no code."""
    return _MARKERS.sub("", text).strip()


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StepPrompt:
    """How a task and a path become chat messages."""

    instruction: str
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: str
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    observation: int
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""
    response: int
    """Highest number of characters of a tool's response shape that are shown."""

    @field_validator("instruction", "result")
    @classmethod
    def _compiles(cls, source: str) -> str:
        try:
            compiled(source)
        except TemplateSyntaxError as error:
            raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
        return source

    def messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """The messages that ask for step `len(path) + 1`: user and assistant in turn, the first and the last a user's.

        Raises ValueError for a node of the path that has no step or was not executed.
        """
        messages = [{"role": "user", "content": self._first(task)}]
        for k, node in enumerate(path, start=1):
            messages += self._turn(k, node)
        return messages

    def _first(self, task: Task) -> str:
        return compiled(self.instruction).render(
            tools=task.tools, query=task.query, observation=self.observation, response=self.response
        )

    def _turn(self, k: int, node: Node) -> list[Message]:
        if node.step is None or node.execution is None:
            raise ValueError(f"node {node.id} has no executed step; a path starts below the root and is executed")
        output = node.execution.observation.strip()
        result = compiled(self.result).render(
            k=k,
            status=node.execution.status,
            output=output[: self.observation],
            error=(node.execution.error or "")[: self.observation],
            cut=max(0, len(output) - self.observation),
        )
        return [
            {"role": "assistant", "content": f"{node.step.text}\n{closing(k)}"},
            {"role": "user", "content": result},
        ]


@lru_cache(maxsize=64)
def compiled(source: str) -> Template:
    """The compiled template; an undefined name raises jinja2.UndefinedError when rendered. Compiled once a process."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters.update(compact=_compact, line=_line)
    return environment.from_string(source)


def _compact(value: Any, limit: int) -> str:
    """JSON without blanks, cut at `limit` characters."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + "…"


def _line(text: str, limit: int = 100) -> str:
    """The text on one line, cut at a word before `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + "…"
