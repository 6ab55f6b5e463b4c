"""Protocols of the sandbox: interpreters that run steps, and what starts them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from codetool.types import Execution, HttpRequest, Task, ToolAnswer

CallTool = Callable[[HttpRequest], Awaitable[ToolAnswer]]
"""Function through which a sandboxed step calls a tool. A failing tool is an answer too, never an exception."""


class Interpreter(Protocol):
    """Live Python process that holds the variables after a path."""

    async def branch(self) -> Interpreter:
        """Return a copy with all variables; later changes in one do not affect the other."""
        ...

    async def run(self, code: str, *, number: int | None = None) -> Execution:
        """Execute one step in this process. A step that hangs or crashes ends this process only.

        `number` is the step's one-based place on its path, for tracebacks: the steps before it may have had no code, or
        have ended their process. None counts the steps that this interpreter executed.
        """
        ...

    async def close(self) -> None:
        """End the process. Further calls have no effect."""
        ...


class Executor(Protocol):
    """Sandbox that starts interpreters."""

    @property
    def in_force(self) -> Mapping[str, str]:
        """Isolation layers that are active on this machine: name of the layer → how it confines generated code."""
        ...

    async def start(self, task: Task, call_tool: CallTool) -> Interpreter:
        """Start an interpreter and run the task's preamble. `call_tool` answers its and its branches' requests."""
        ...


class ExecutorOption(Protocol):
    """Settings of the sandbox."""

    def open(self) -> AbstractAsyncContextManager[Executor]:
        """Open the live sandbox. Raises SandboxError."""
        ...
