"""What all interpreters of one sandbox share: the process pool, the zygote, the limits and the counters."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from codetool.errors import SandboxError
from codetool.execution import syntax_check
from codetool.execution.channel import ClosedError
from codetool.execution.forking import fork_process
from codetool.execution.interruption import ForkRefusedError
from codetool.execution.live_process import LiveProcess
from codetool.execution.memory_limit import MemoryLimit
from codetool.execution.process_slots import ProcessPool
from codetool.execution.step_execution import execute_step
from codetool.interfaces import CallTool
from codetool.types import Execution, HttpRequest, ToolAnswer

logger = logging.getLogger(__name__)

REPLAY_FACTOR = 2
"""A step that is run again to rebuild an interpreter may take this many times its limit: once it kept it already."""
FORK_PAUSES = (0.0, 0.02, 0.1, 0.5, 1.0, 2.0)
"""Seconds to wait before each attempt to fork the zygote, while the system refuses it or it has just died."""


@dataclass
class InterpreterResources:
    """Shared resources of a sandbox's interpreters. `timeout` is the limit of one step in seconds of its own time."""

    pool: ProcessPool
    zygote: LiveProcess
    timeout: float
    memory: MemoryLimit
    launch: Callable[[], Awaitable[LiveProcess]]
    """Starts another sandbox and returns its zygote. Raises SandboxError."""
    counts: Counter[str] = field(default_factory=Counter)
    """Number of steps `replayed` to rebuild interpreters, of sandbox `restarts`, of interruptions by kind, and of steps
    in interpreters whose code `replaced_functions` that run steps."""
    closed: bool = False
    """Whether the sandbox was closed; it is then not started again."""
    _restart: asyncio.Task[None] | None = None

    async def fork_zygote(self) -> LiveProcess:
        """A new root process, from a restarted sandbox if the old one has died. Raises SandboxError."""
        reason = ""
        for pause in FORK_PAUSES:
            await asyncio.sleep(pause)
            self._raise_if_closed()
            zygote = self.zygote
            try:
                return await fork_process(zygote)
            except ForkRefusedError as error:
                reason = str(error)
                self.pool.evict_one()
            except ClosedError as error:
                reason = f"the sandbox's root process died ({error})"
                await self._restart_sandbox(zygote)
        raise SandboxError(
            f"no interpreter could be started: {reason}. The machine lacks memory, processes or open files; lower "
            "concurrency or executor.max_live_processes, or allow more (ulimit -n, ulimit -u)"
        )

    async def _restart_sandbox(self, dead: LiveProcess) -> None:
        """Start the sandbox again, once for all interpreters that found its zygote dead. Raises SandboxError."""
        self._raise_if_closed()
        if self._restart is None and self.zygote is dead:
            self._restart = asyncio.ensure_future(self._launch_again(dead))
            self._restart.add_done_callback(self._forget_restart)
        if self._restart is not None:
            await asyncio.shield(self._restart)

    async def _launch_again(self, dead: LiveProcess) -> None:
        self.counts["restarts"] += 1
        logger.warning("The sandbox died or was killed from outside; it is started again.")
        await dead.handle.close()
        self._raise_if_closed()
        zygote = await self.launch()
        if self.closed:
            await zygote.handle.close()
        self._raise_if_closed()
        lost = _list_missing_layers(zygote) - _list_missing_layers(dead)
        if lost:
            await zygote.handle.close()
            raise SandboxError(
                f"the sandbox died, and it starts again only without {', '.join(sorted(lost))}, which this run began "
                "with. Run the same command again, it resumes"
            )
        self.zygote = zygote

    def _forget_restart(self, task: asyncio.Task[None]) -> None:
        self._restart = None
        if not task.cancelled():
            task.exception()  # whoever waited for it has it

    def _raise_if_closed(self) -> None:
        if self.closed:
            raise SandboxError("the sandbox was closed")

    async def close(self) -> None:
        """End the sandbox for good, also one that is just starting again. A second call does nothing."""
        self.closed = True
        if self._restart is not None:
            await asyncio.wait([self._restart])
        await self.zygote.handle.close()

    async def find_syntax_error(self, code: str) -> str | None:
        """The syntax error of `code` as text, None if it has none.

        Code that takes the host too much time or memory is compiled by a new process, in which no step has run. What it
        cannot compile within the limits of a step is an error too.
        """
        if syntax_check.is_cheap(code):
            return syntax_check.find_syntax_error(code)
        await self.pool.take()
        try:
            process = await self.fork_zygote()
        except BaseException:
            self.pool.release()
            raise
        self.pool.fill(process)
        try:
            with self.pool.hold(process):
                checking = syntax_check.write_check(code)
                execution = await self.run_step(process, checking, syntax_check.CHECK_FILENAME, _refuse_call)
        finally:
            process.kill()
        return execution.printed.strip() or None if execution.ran else execution.error

    async def run_step(
        self, process: LiveProcess, code: str, name: str, call_tool: CallTool, *, replay: bool = False
    ) -> Execution:
        """Run `code` in a process that the caller holds in the pool, so that it is not evicted meanwhile."""
        async with process.lock:
            self.counts["replayed"] += replay
            timeout = self.timeout * (REPLAY_FACTOR if replay else 1)
            with self.memory.watch_step(process):
                execution = await execute_step(process, code, name, call_tool, timeout)
            if process.has_replaced_functions and not replay:
                self._count_replaced_functions()
            return execution

    def _count_replaced_functions(self) -> None:
        if not self.counts["replaced_functions"]:
            logger.warning("Generated code replaced functions that run its steps. This has no effect on verdicts.")
        self.counts["replaced_functions"] += 1


async def _refuse_call(request: HttpRequest) -> ToolAnswer:
    raise AssertionError(f"no step calls {request.url}: its code is only compiled")


def _list_missing_layers(zygote: LiveProcess) -> set[str]:
    return {layer for layer, means in zygote.handle.in_force.items() if means.startswith("NO")}
