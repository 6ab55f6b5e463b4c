"""Manage the interpreter processes behind the nodes of one search tree."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from codetool.interfaces import CallTool, Executor, Interpreter
from codetool.types import Execution, Node, Task

PROCESS_ENDED = frozenset({"timeout", "killed"})
"""Statuses after which no process is left."""


class InterpreterTree:
    """Runs each step in a branch of its parent's interpreter state and owns all interpreter processes.

    A step that raised leaves what it had done until then, as in a notebook. A step whose process was ended (time-out,
    memory, crash) leaves nothing: what follows it goes on from the nearest ancestor's state. So does what follows a
    step without code, which changes nothing.
    """

    def __init__(self, task: Task, executor: Executor, call_tool: CallTool) -> None:
        """No process yet: the first step that has code starts one."""
        self._task, self._executor, self._call_tool = task, executor, call_tool
        self._root: asyncio.Task[Interpreter] | None = None
        self._owned: list[asyncio.Task[Interpreter]] = []
        self._live: dict[str, Interpreter] = {}

    async def run(self, parent: Node, node_id: str, code: str, *, last: bool) -> Execution:
        """What `code` does after `parent`. Its state is kept for the node's children unless it is the path's last."""
        before = await self._find_interpreter(parent)
        interpreter = await asyncio.shield(self._start_owned(before.branch()))
        execution = await interpreter.run(code, number=parent.depth + 1)
        if last or execution.status in PROCESS_ENDED:
            await interpreter.close()
        else:
            self._live[node_id] = interpreter
        return execution

    async def close(self) -> None:
        """End every process, also those just starting. All are ended before the first error, if any, is raised."""
        started = await asyncio.gather(*self._owned, return_exceptions=True)
        live = [interpreter for interpreter in started if not isinstance(interpreter, BaseException)]
        for outcome in await asyncio.gather(*(interpreter.close() for interpreter in live), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _find_interpreter(self, node: Node) -> Interpreter:
        while node.parent is not None:
            if node.id in self._live:
                return self._live[node.id]
            node = node.parent
        if self._root is None:
            self._root = self._start_owned(self._executor.start(self._task, self._call_tool))
        return await asyncio.shield(self._root)

    def _start_owned(self, start: Coroutine[Any, Any, Interpreter]) -> asyncio.Task[Interpreter]:
        """The process being started, remembered: who waits may be cancelled, the process must still be ended."""
        self._owned.append(asyncio.create_task(start))
        return self._owned[-1]
