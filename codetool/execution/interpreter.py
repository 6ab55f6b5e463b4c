"""The interpreter that search uses: a path of executed steps, with a live process behind it when one is needed.

The path defines the state. A process that was evicted, or that has too many Landlock layers to be forked, is rebuilt:
from the nearest live ancestor, else from the zygote, by running the missing steps again with the recorded answers of
their tools. No tool is called twice.
"""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import replace

from codetool.errors import SandboxError
from codetool.execution.channel import ClosedError
from codetool.execution.inside.run_step import format_exception
from codetool.execution.interpreter_resources import InterpreterResources
from codetool.execution.kept_calls import KeptCalls, StoredCall, digest_request, keep_write
from codetool.execution.live_process import ExecutedStep, LiveProcess
from codetool.interfaces import CallTool
from codetool.types import Execution, HttpRequest, ToolAnswer, format_observation

MAX_FORKED_LAYERS = 14
"""Landlock allows 16 layers; a process with this many is not forked again but rebuilt from the zygote."""
MAX_COMPILED_CHARACTERS = 200_000
"""Maximum number of characters of code that the host compiles to find syntax errors; the process checks longer code."""
STEP_FILENAME = "<step>"
PREAMBLE_FILENAME = "<preamble>"
THREADS_STOPPED_MESSAGE = "[Threads that were still running when the step ended were stopped.]"


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

    async def branch(self) -> SandboxInterpreter:
        """An independent copy of this interpreter with the same variables.

        If the pool is full, the copy gets a process when it first runs. Raises SandboxError if this interpreter is
        closed or dead.
        """
        async with self._lock:
            self._raise_if_ended()
            child = SandboxInterpreter(self._resources, self._call_tool, self.path, self)
            if self._build_error:
                child._build_error = self._build_error
            elif await self._ensure_process() is None:
                child._build_error = self._build_error
            elif self._resources.pool.take_now(spare=self.process):
                await child._build_in_slot()
            return child

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
        error = find_syntax_error(code)
        async with self._lock:
            self._raise_if_ended()
            if error is not None:
                return Execution("exception", error=error)
            process = await self._ensure_process()
            if process is None:
                self._end_reason = f"it could not be built: {self._build_error}"
                return Execution("killed", error=f"the interpreter could not be built: {self._build_error}")
            try:
                return await self._run(process, code, name or self._name_next_step())
            except BaseException:
                self._end("its last step was broken off")
                raise

    def _name_next_step(self) -> str:
        return f"<step {1 + sum(record.name != PREAMBLE_FILENAME for record in self.path)}>"

    async def _run(self, process: LiveProcess, code: str, name: str) -> Execution:
        exchanged: list[StoredCall] = []
        writes = list(self.writes)

        async def answer(request: HttpRequest) -> ToolAnswer:
            tool_answer = await self._call_tool(replace(request, earlier_writes=tuple(writes)))
            exchanged.append(self._kept_calls.store(request, tool_answer))
            if tool_answer.call.effect == "write":
                writes.append(keep_write(tool_answer))
            return replace(tool_answer, call=self._kept_calls.keep_call(tool_answer.call))

        try:
            process = await self._replace_by_fork(process) if process.has_branched else process
        except ClosedError as error:
            self._end_reason = str(error)
            return Execution("killed", error=f"the interpreter died: {error}")
        with self._resources.pool.hold(process):
            execution = await self._resources.run_step(process, code, name, answer)
            if not process.alive:
                self._end_reason = execution.error
                return execution
            self.path = process.history = (*self.path, ExecutedStep(code, name, tuple(exchanged)))
            self.writes = tuple(writes)
            if await process.has_threads():
                execution = await self._stop_threads(process, execution)
        return execution

    async def _stop_threads(self, process: LiveProcess, execution: Execution) -> Execution:
        """End the process's threads by replacing it with a fork of itself, which has only the main thread."""
        try:
            await self._replace_by_fork(process, stay=True)
        except ClosedError as error:
            process.kill()
            self._end_reason = f"threads of its last step could not be stopped: {error}"
            return replace(execution, status="killed", error=self._end_reason)
        stdout = execution.printed
        separator = "" if not stdout or stdout.endswith("\n") else "\n"
        printed = f"{stdout}{separator}{THREADS_STOPPED_MESSAGE}"
        return replace(execution, observation=format_observation(printed, execution.stderr))

    async def _replace_by_fork(self, process: LiveProcess, *, stay: bool = False) -> LiveProcess:
        """Replace the process with a fork of it, which uses the same folder if `stay`. Raises ClosedError."""
        with self._resources.pool.hold(process):
            fork = await process.fork(stay=stay)
        self._resources.pool.replace(process, fork)
        process.kill()
        self.process = fork
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
            await self._replay(process)
        except BaseException as error:
            self.process.kill() if process and self.process else self._resources.pool.release()
            if not isinstance(error, ClosedError):
                raise
            self._build_error = str(error)

    async def build(self) -> None:
        """Create the process now. Raises SandboxError if that fails."""
        if await self._ensure_process() is None:
            raise SandboxError(f"an interpreter could not be started: {self._build_error}")

    async def _build(self) -> LiveProcess:
        """Fork the nearest live ancestor on this path, or the zygote if there is none.

        Raises SandboxError if the zygote cannot be forked either.
        """
        ancestor: SandboxInterpreter | None = self
        while ancestor is not None:
            source = ancestor.process
            if source is not None and self._is_usable_ancestor(source):
                with self._resources.pool.hold(source):
                    try:
                        return await source.fork()
                    except ClosedError:
                        pass  # it died or was broken by its code; try the next ancestor
            ancestor = ancestor.parent
        zygote = self._resources.require_zygote()
        try:
            return await zygote.fork()
        except ClosedError as error:
            raise SandboxError(f"the sandbox's root process died ({error}); start the run again, it resumes") from error

    def _is_usable_ancestor(self, source: LiveProcess) -> bool:
        history = source.history
        if not source.alive or source.layers >= MAX_FORKED_LAYERS or len(history) > len(self.path):
            return False
        return all(done is step for done, step in zip(history, self.path, strict=False))

    async def _replay(self, process: LiveProcess) -> None:
        """Run the missing steps with their recorded answers. Raises ClosedError if the process dies in one of them."""
        for record in self.path[len(process.history) :]:
            self._resources.replayed_steps += 1
            with self._resources.pool.hold(process):
                answer = _replay_answers(record, self._kept_calls)
                execution = await self._resources.run_step(process, record.code, record.name, answer)
                if not process.alive:
                    raise ClosedError(f"a step of its path could not be repeated: {execution.error}")
                process.history = (*process.history, record)
                threads = await process.has_threads()
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


def find_syntax_error(code: str) -> str | None:
    """The syntax error of `code` as text, None if it has none. The code is not run.

    The host decides this, because an earlier step may have manipulated the process. Errors that only occur there, such
    as too deep nesting, are left to the process.
    """
    if len(code) > MAX_COMPILED_CHARACTERS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(code, STEP_FILENAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return format_exception(error, STEP_FILENAME, code)
        except (RecursionError, MemoryError):
            pass
    return None


def _replay_answers(record: ExecutedStep, kept_calls: KeptCalls) -> CallTool:
    """A `call_tool` that returns a step's recorded answers: that of an equal request, else the next in order."""
    remaining = list(record.calls)

    async def answer(request: HttpRequest) -> ToolAnswer:
        if not remaining:
            raise ClosedError("a step of its path asked for more tools than the first time")
        digest = digest_request(request)
        index = next((index for index, stored in enumerate(remaining) if stored.digest == digest), 0)
        return kept_calls.load(remaining.pop(index))

    return answer
