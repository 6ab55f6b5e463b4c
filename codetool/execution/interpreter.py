"""The interpreter that search uses: a path of executed steps, with a live process behind it when one is needed.

The path defines the state. A process that was evicted, or that has too many Landlock layers to be forked, is rebuilt:
from the nearest live ancestor, else from the zygote, by running the missing steps again with the recorded answers of
their tools. No tool is called twice.

A step has a verdict only if its own code ended it. If its process was ended by something else (see `interruption.py`),
the step is run again on a rebuilt process, at most MAX_ATTEMPTS times; then SandboxError is raised, which makes the
task fail internally. Code that can cause such ends on purpose therefore gets no more than these attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import TypeVar

from codetool.errors import SandboxError
from codetool.execution.channel import ClosedError
from codetool.execution.forking import fork_process
from codetool.execution.interpreter_resources import InterpreterResources
from codetool.execution.interruption import (
    ForkRefusedError,
    InterruptedStepError,
    Interruption,
    SlowForkError,
    UnexplainedEndError,
    describe_interruptions,
)
from codetool.execution.kept_calls import KeptCalls
from codetool.execution.live_process import ExecutedStep, LiveProcess
from codetool.execution.process_end import has_threads
from codetool.execution.process_status import count_oom_kills
from codetool.execution.step_calls import StepCalls, replay_calls
from codetool.interfaces import CallTool
from codetool.types import Execution, ToolAnswer, format_observation

MAX_FORKED_LAYERS = 14
"""Landlock allows 16 layers; a process with this many is not forked again but rebuilt from the zygote."""
MAX_ATTEMPTS = 3
"""Number of times that a step is run if something other than its code ends its process each time."""
PREAMBLE_FILENAME = "<preamble>"
THREADS_STOPPED_MESSAGE = "[Threads that were still running when the step ended were stopped.]"

T = TypeVar("T")


class SandboxInterpreter:
    """The interpreter state after a path of steps. Concurrent operations run one after the other."""

    def __init__(
        self,
        resources: InterpreterResources,
        call_tool: CallTool,
        path: tuple[ExecutedStep, ...] = (),
        parent: SandboxInterpreter | None = None,
    ) -> None:
        """An interpreter without a process; `build` or the first step creates one."""
        self.path = path
        self.writes: tuple[ToolAnswer, ...] = parent.writes if parent else ()
        """The answered writes of the path's steps, oldest first."""
        self._kept_calls: KeptCalls = parent._kept_calls if parent else KeptCalls()
        self.parent = parent
        self.process: LiveProcess | None = None
        self._resources = resources
        self._call_tool = call_tool
        self._lock = asyncio.Lock()
        self._end_reason: str | None = None
        self._build_error: str | None = None
        self._build_seconds = 0.0
        """Seconds that a fork delayed by the path's own code took before it was given up."""
        self._protected = False
        """Whether its process may not be killed to free memory."""

    async def branch(self) -> SandboxInterpreter:
        """An independent copy of this interpreter with the same variables.

        If the pool is full, the copy gets a process when it first runs. Raises SandboxError if this interpreter is
        closed or dead.
        """
        async with self._lock:
            self._raise_if_ended()
            child = SandboxInterpreter(self._resources, self._call_tool, self.path, self)
            try:
                await self._repeat_if_interrupted(self._ensure_process)
            except UnexplainedEndError as error:
                self._build_error = str(error)
            if self._build_error:
                child._build_error = self._build_error
            elif self._resources.pool.take_now(spare=self.process):
                await child._build_if_possible()
            return child

    async def _build_if_possible(self) -> None:
        """Build the process in a slot that was taken; left to the first step if the system or somebody hinders it."""
        with suppress(InterruptedStepError, ForkRefusedError):
            await self._build_in_slot()

    async def run(self, code: str, *, number: int | None = None) -> Execution:
        """Execute one step. Raises SandboxError if this interpreter is closed or dead.

        Tracebacks call it `<step NUMBER>`; by default it is counted after the steps that this interpreter executed.
        """
        return await self._run_named(code, None if number is None else f"<step {number}>")

    async def run_preamble(self, code: str) -> Execution:
        """Execute the task's preamble, which is not a step. Raises SandboxError as `run` does."""
        return await self._run_named(code, PREAMBLE_FILENAME)

    async def _run_named(self, code: str, name: str | None) -> Execution:
        if not code.strip():
            return Execution("no_code", error="the step has no code")
        async with self._lock:
            self._raise_if_ended()
            name = name or self._name_next_step()
            calls = StepCalls(self._call_tool, self._kept_calls, self.writes)
            try:
                error = await self._repeat_if_interrupted(lambda: self._resources.find_syntax_error(code))
                if error is not None:
                    return Execution("exception", error=error)
                return await self._repeat_if_interrupted(lambda: self._build_and_run(code, name, calls))
            except UnexplainedEndError as end:
                self._end_reason = str(end)
                return Execution("killed", error=f"the interpreter died: {end}", calls=calls.answers)
            except BaseException:
                self._end("its last step was broken off")
                raise

    def _name_next_step(self) -> str:
        return f"<step {1 + sum(record.name != PREAMBLE_FILENAME for record in self.path)}>"

    async def _repeat_if_interrupted(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of an operation, which is repeated if something other than the code ended the process.

        After MAX_ATTEMPTS, raises SandboxError, or UnexplainedEndError if nothing but the code can have been the cause.
        """
        kinds, oom_kills = list[Interruption](), 0
        async with AsyncExitStack() as stack:
            while True:
                try:
                    return await operation()
                except InterruptedStepError as error:
                    kinds.append(error.kind)
                self._resources.counts[f"interrupted:{kinds[-1]}"] += 1
                if len(kinds) == 1:
                    oom_kills = count_oom_kills()
                if len(kinds) == MAX_ATTEMPTS:
                    raise describe_interruptions(kinds, oom_kills != count_oom_kills())
                if kinds[-1] == "memory" and not self._protected:
                    await stack.enter_async_context(self._resources.memory.wait_for_room())
                    stack.callback(self._protect, False)
                    self._protect(True)

    def _protect(self, protected: bool) -> None:
        """Exempt the process, or do not, from being killed to free memory."""
        self._protected = protected
        if self.process is not None:
            self.process.protected = protected

    async def _build_and_run(self, code: str, name: str, calls: StepCalls) -> Execution:
        """Run one step once. `calls` has the answers that an interrupted attempt got, and is filled with more."""
        process = await self._ensure_process()
        if process is None:
            self._end_reason = f"it could not be built: {self._build_error}"
            error = f"the interpreter could not be built: {self._build_error}"
            return Execution("killed", error=error, seconds=self._build_seconds)
        calls.begin_attempt()
        try:
            process = await self._replace_by_fork(process) if process.has_branched else process
            return await self._run(process, code, name, calls)
        except ClosedError as error:
            self._end_reason = str(error)
            seconds = error.seconds if isinstance(error, SlowForkError) else 0.0
            return Execution("killed", error=f"the interpreter died: {error}", seconds=seconds)

    async def _run(self, process: LiveProcess, code: str, name: str, calls: StepCalls) -> Execution:
        with self._resources.pool.hold(process):
            execution = await self._resources.run_step(process, code, name, calls.answer)
            if not process.alive:
                self._end_reason = execution.error
                return execution
            self.path = process.history = (*self.path, ExecutedStep(code, name, calls.stored))
            self.writes = calls.writes
            if await has_threads(process):
                execution = await self._stop_threads(process, execution)
        return execution

    async def _stop_threads(self, process: LiveProcess, execution: Execution) -> Execution:
        """End the process's threads by replacing it with a fork of itself, which has only the main thread."""
        try:
            await self._replace_by_fork(process, stay=True)
        except ClosedError as error:
            process.kill()
            self._end_reason = f"threads of its last step could not be stopped: {error}"
            seconds = execution.seconds + (error.seconds if isinstance(error, SlowForkError) else 0.0)
            return replace(execution, status="killed", error=self._end_reason, seconds=seconds)
        stdout = execution.printed
        separator = "" if not stdout or stdout.endswith("\n") else "\n"
        printed = f"{stdout}{separator}{THREADS_STOPPED_MESSAGE}"
        return replace(execution, observation=format_observation(printed, execution.stderr))

    async def _replace_by_fork(self, process: LiveProcess, *, stay: bool = False) -> LiveProcess:
        """Replace the process with a fork of it, which uses the same folder if `stay`. Raises ClosedError."""
        with self._resources.pool.hold(process):
            fork = await fork_process(process, stay=stay)
        self._resources.pool.replace(process, fork)
        process.kill()
        self.process = fork
        self._protect(self._protected)
        return fork

    async def _ensure_process(self) -> LiveProcess | None:
        """The live process of this interpreter, rebuilt if needed; None if that fails (see `_build_error`)."""
        if self._build_error:
            return None
        process = self.process
        if process is None or not process.alive or (process.has_branched and process.layers >= MAX_FORKED_LAYERS):
            if process:
                process.kill()
            await self._resources.pool.take()
            await self._build_in_slot()
        return None if self._build_error else self.process

    async def _build_in_slot(self) -> None:
        """Build the process in a slot that was taken."""
        process = None
        try:
            process = await self._build()
            self._resources.pool.fill(process)
            self.process = process
            self._protect(self._protected)
            await self._replay(process)
        except BaseException as error:
            self.process.kill() if process and self.process else self._resources.pool.release()
            if not isinstance(error, ClosedError) or isinstance(error, ForkRefusedError):
                raise
            self._build_error = str(error)
            self._build_seconds += error.seconds if isinstance(error, SlowForkError) else 0.0

    async def build(self) -> None:
        """Create the process now. Raises SandboxError if that fails."""
        if await self._ensure_process() is None:
            raise SandboxError(f"an interpreter could not be started: {self._build_error}")

    async def _build(self) -> LiveProcess:
        """Fork the nearest live ancestor on this path, or the zygote if there is none.

        Raises SandboxError if the zygote cannot be forked either, SlowForkError if the path's code delays forks.
        """
        ancestor: SandboxInterpreter | None = self
        while ancestor is not None:
            if ancestor._build_error:
                raise ClosedError(ancestor._build_error)
            source = ancestor.process
            if source is not None and self._is_usable_ancestor(source):
                with self._resources.pool.hold(source):
                    try:
                        return await fork_process(source)
                    except SlowForkError as error:
                        ancestor._build_error = str(error)  # no other branch of it has to wait as long
                        raise
                    except ClosedError:
                        pass  # it died, was broken by its code, or there is no room; try the next ancestor
            ancestor = ancestor.parent
        return await self._resources.fork_zygote()

    def _is_usable_ancestor(self, source: LiveProcess) -> bool:
        history = source.history
        if not source.alive or source.layers >= MAX_FORKED_LAYERS or len(history) > len(self.path):
            return False
        return all(done is step for done, step in zip(history, self.path, strict=False))

    async def _replay(self, process: LiveProcess) -> None:
        """Run the missing steps with their recorded answers. Raises ClosedError if the process dies in one of them."""
        for record in self.path[len(process.history) :]:
            with self._resources.pool.hold(process):
                answer = replay_calls(record.calls, self._kept_calls)
                execution = await self._resources.run_step(process, record.code, record.name, answer, replay=True)
                if not process.alive:
                    raise ClosedError(f"a step of its path could not be repeated: {execution.error}")
                process.history = (*process.history, record)
                threads = await has_threads(process)
            if threads:
                process = await self._replace_by_fork(process, stay=True)

    def _raise_if_ended(self) -> None:
        if self._end_reason is not None:
            raise SandboxError(f"this interpreter has ended: {self._end_reason}. Branch from its parent instead")

    def _end(self, reason: str) -> None:
        self._end_reason = self._end_reason or reason
        if self.process:
            self.process.kill()

    async def close(self) -> None:
        """End the process; its branches stay alive. A second call does nothing."""
        self._end("it was closed")
