"""The branchable sandboxed interpreter: an option of the run, and where interpreters come from.

What it is for: code that a model wrote, right, wrong or hostile, must not reach files, environment, network, processes
or memory of anybody else, and must not stop anybody else's work. It is no defence against errors in the kernel. What is
really in force stands in `Sandbox.in_force`. The reading order inside the sandbox begins with `inside/pid1.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.errors import SandboxError
from codetool.execution.inside.limits import measure_cpu_seconds
from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.launch import MIB, launch
from codetool.execution.live_process import Answer, LiveProcess
from codetool.execution.process_slots import ProcessPool
from codetool.execution.sandbox_handle import SandboxHandle
from codetool.interfaces import CallTool
from codetool.runs.operational import Operational
from codetool.types import Execution, Task

logger = logging.getLogger(__name__)

AUDIT_SECONDS = 1.0
AUDIT_TOLERANCE = 0.1
"""Seconds of CPU that an interpreter may use while nothing is asked of it."""
FILES_PER_BRANCH = 2
"""Open files of the host for each live branch: its line and the handle that kills it."""
RESERVED_FILES = 128
"""Open files left to the rest of the host, at least; it gets half of what is allowed for its connections."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SandboxConfig:
    """Settings of the sandbox."""

    isolation: Annotated[Literal["required", "best_effort"], Operational]
    """`required`: no run without namespaces, Landlock and seccomp; `best_effort`: with those that are there."""
    timeout: float = Field(gt=0)
    """Seconds a step may run; waiting for tools does not count."""
    memory: int = Field(ge=16)
    """MiB of memory a branch may have beyond an empty interpreter."""
    output: int = Field(ge=1)
    """Characters kept of what a step prints."""
    scratch: int = Field(ge=1)
    """MiB of files in a branch's scratch folder."""
    max_live: Annotated[int, Operational] = Field(ge=1)
    """Branches alive at once; colder ones are closed and rebuilt when needed."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sandbox]:
        """The live sandbox. Raises SandboxError if it cannot be built as `isolation` demands."""
        places = min(self.max_live, _compute_capacity())
        if places < self.max_live:
            why = "more open files or processes are not allowed here (ulimit -n, ulimit -u)"
            logger.warning("executor.max_live=%d is lowered to %d: %s", self.max_live, places, why)
        keeper = await launch(
            self.isolation,
            memory=self.memory * MIB,
            scratch=self.scratch * MIB,
            output=self.output,
            cpu_seconds=60 + 20 * math.ceil(self.timeout),
        )
        sandbox = Sandbox(keeper, places, self.timeout)
        audit = asyncio.ensure_future(sandbox.kill_busy_idle_processes())
        try:
            yield sandbox
        finally:
            audit.cancel()
            await asyncio.shield(asyncio.ensure_future(keeper.close()))


class Sandbox:
    """A running sandbox: starts interpreters, and counts."""

    def __init__(self, keeper: SandboxHandle, places: int, timeout: float) -> None:
        """Over a started sandbox; `places` live branches, `timeout` seconds a step."""
        self.handle = keeper
        self.pool = ProcessPool(places)
        self.replayed_steps = 0
        """Steps run again to rebuild an evicted interpreter."""
        self._timeout = timeout
        self._audited: WeakKeyDictionary[LiveProcess, tuple[int, float]] = WeakKeyDictionary()
        keeper.on_end = self.pool.remove

    @property
    def in_force(self) -> Mapping[str, str]:
        """The layers really in force, each with a word on how; a missing one begins with NO."""
        return self.handle.in_force

    @property
    def live_branches(self) -> int:
        """How many branches are alive."""
        return self.pool.live

    @property
    def evicted_branches(self) -> int:
        """How many branches were closed to make room."""
        return self.pool.evicted

    async def start(self, task: Task, call_tool: CallTool) -> SandboxInterpreter:
        """An interpreter that has run the task's preamble. Raises SandboxError if the preamble fails."""
        root = SandboxInterpreter(self, call_tool)
        await root.build()
        if task.preamble.strip():
            execution = await root.run(task.preamble)
            if not execution.ran:
                await root.close()
                raise SandboxError(f"the preamble of task {task.id} failed: {execution.error}. Correct the task's data")
        return root

    async def run_step(self, process: LiveProcess, code: str, answer: Answer) -> Execution:
        """Run code in a process that the caller keeps from eviction."""
        async with process.lock:
            return await process.run(code, answer, self._timeout)

    async def kill_busy_idle_processes(self) -> None:
        """Now and then end processes that work though nothing was asked of them."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            for process in self.handle.processes():
                seen = self._audited.get(process)
                if process.active_operations or process is self.handle.zygote:
                    self._audited.pop(process, None)
                elif (
                    seen
                    and seen[0] == process.total_operations
                    and measure_cpu_seconds(process.pid) - seen[1] > AUDIT_TOLERANCE
                ):
                    process.kill()
                elif not seen or seen[0] != process.total_operations:
                    self._audited[process] = (process.total_operations, measure_cpu_seconds(process.pid))
                await asyncio.sleep(0)


def _compute_capacity() -> int:
    """How many live branches the limits on files and processes allow; raises the soft limit on files."""
    if sys.platform == "win32":
        raise SandboxError("the sandbox needs Linux, or another Unix with executor.isolation=best_effort")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # some systems call a hard limit infinite that is not
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    files = (soft - max(RESERVED_FILES, soft // 2)) // FILES_PER_BRANCH if soft != resource.RLIM_INFINITY else 2**20
    processes = [resource.getrlimit(resource.RLIMIT_NPROC)[0] // 2]
    for name in ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max", "/sys/fs/cgroup/pids.max"):
        try:
            processes.append(int(Path(name).read_text()) // 2)
        except (OSError, ValueError):
            continue
    return max(1, min(files, *(count for count in processes if count > 0)))
