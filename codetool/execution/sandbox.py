"""The branchable sandboxed Python interpreter: its settings (`executor.*`) and the running sandbox.

Threat model: model-written code, whether correct, faulty or hostile, must not reach files, environment, network,
processes or memory outside its own branch, and must not stop the work of other branches. The sandbox does not protect
against bugs in the kernel. Branches still share the machine and one user: its load, its free memory, the numbering of
processes and the user's quota of pipe buffers can tell one branch about others, or slow it down. `Sandbox.in_force`
lists the layers that are active. To read the code that runs inside the sandbox, begin with `inside/pid1.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.concurrency import keep_running
from codetool.errors import ConfigError, SandboxError
from codetool.execution.growth_guard import GrowthGuard
from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.interpreter_resources import InterpreterResources
from codetool.execution.launch import MIB, launch
from codetool.execution.live_process import LiveProcess
from codetool.execution.managed_process import ManagedProcess
from codetool.execution.memory_limit import MemoryLimit, choose_total_memory
from codetool.execution.process_slots import ProcessPool
from codetool.execution.process_status import read_cpu_seconds
from codetool.execution.sandbox_handle import SandboxHandle
from codetool.interfaces import CallTool
from codetool.runs.operational import Operational
from codetool.types import Task

logger = logging.getLogger(__name__)

AUDIT_SECONDS = 1.0
"""Seconds between two looks at idle processes."""
AUDIT_TOLERANCE = 0.1
"""Seconds of CPU time that an interpreter may use while no operation needs it."""
FILES_PER_BRANCH = 2
"""Open files of the host for each live branch: its socket and its pidfd."""
BASE_MIB = 32
"""MiB of memory that an interpreter itself may hold, in addition to what its code allocates."""
RESERVED_FILES = 128
"""Minimum number of open files left to the rest of the program, which gets half of the limit for its connections."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SandboxConfig:
    """Settings of the sandbox (`executor.*`)."""

    isolation: Annotated[Literal["required", "best_effort"], Operational]
    """`required`: stop without namespaces, Landlock and seccomp; `best_effort`: use the layers that are available."""
    timeout: float = Field(gt=0)
    """Seconds a step may run: CPU time of all its threads, and the time in which it sleeps or is blocked. Waiting for
    tools and for a core does not count."""
    memory_mib: int = Field(ge=16)
    """MiB of memory a branch may allocate beyond what an empty interpreter has."""
    max_output_chars: int = Field(ge=1)
    """Maximum number of characters kept of a step's printed output."""
    scratch_mib: int = Field(ge=1)
    """Maximum size of a branch's scratch folder in MiB."""
    max_live_processes: Annotated[int, Operational] = Field(ge=1)
    """Maximum number of live branches; the least recently used are closed and rebuilt when needed."""
    total_memory: Annotated[int | None, Operational] = Field(default=None, ge=1)
    """MiB of memory of all live branches together, with their scratch files; None for half of the machine's. Above it
    idle branches are closed, then the largest step is stopped and run again when there is room."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sandbox]:
        """Start a sandbox and end it on leaving. Raises SandboxError if it cannot be built as `isolation` demands."""
        capacity = min(self.max_live_processes, _compute_capacity())
        if capacity < self.max_live_processes:
            reason = "more open files or processes are not allowed here (ulimit -n, ulimit -u)"
            logger.warning(
                "executor.max_live_processes=%d is lowered to %d: %s", self.max_live_processes, capacity, reason
            )
        pool, guard = ProcessPool(capacity), GrowthGuard.open(capacity)

        async def start() -> LiveProcess:
            handle, zygote = await launch(
                self.isolation,
                memory=self.memory_mib * MIB,
                scratch=self.scratch_mib * MIB,
                output=self.max_output_chars,
                cpu_seconds=60 + 20 * math.ceil(self.timeout),
                growth_descriptors=guard.descriptors,
            )
            handle.on_end = pool.remove
            return zygote

        memory = MemoryLimit(self._choose_total_memory() * MIB, self._branch_memory * MIB, pool.processes, guard)
        resources = InterpreterResources(pool, await start(), self.timeout, memory, start)
        sandbox = Sandbox(resources)
        watchers = [
            asyncio.ensure_future(keep_running("The audit of idle interpreters", sandbox.audit)),
            asyncio.ensure_future(keep_running("The watch over executor.total_memory", memory.watch)),
        ]
        guard.listen(memory.relieve)
        try:
            yield sandbox
        finally:
            for watcher in watchers:
                watcher.cancel()
            guard.close()
            await asyncio.shield(asyncio.ensure_future(resources.close()))

    def share_machine(self, sandboxes: int) -> SandboxConfig:
        """Return the settings of one of several sandboxes of a machine: they share the memory that one would use."""
        if self.total_memory is not None or sandboxes == 1:
            return self
        return replace(self, total_memory=max(self._branch_memory, choose_total_memory() // sandboxes))

    @property
    def _branch_memory(self) -> int:
        """MiB that one branch may need."""
        return self.memory_mib + self.scratch_mib + BASE_MIB

    def _choose_total_memory(self) -> int:
        """MiB of all branches together. Raises ConfigError if not even one branch has room."""
        needed = self._branch_memory
        if self.total_memory is None:
            return max(needed, choose_total_memory())
        if self.total_memory < needed:
            raise ConfigError(
                f"executor.total_memory={self.total_memory}: one branch alone may need {needed} MiB "
                f"(executor.memory_mib={self.memory_mib}, executor.scratch_mib={self.scratch_mib} and {BASE_MIB} for "
                f"its interpreter). Allowed are {needed} or more, or null for half of the machine's memory"
            )
        return self.total_memory


class Sandbox:
    """A running sandbox: it starts interpreters and counts live, evicted and replayed work."""

    def __init__(self, resources: InterpreterResources) -> None:
        """Takes the resources that its interpreters share."""
        self.pool = resources.pool
        self._resources = resources
        self._audited: WeakKeyDictionary[ManagedProcess, tuple[int, float]] = WeakKeyDictionary()
        """Of each idle process, its number of operations and its CPU seconds when it was last looked at."""

    @property
    def handle(self) -> SandboxHandle:
        """The processes of the sandbox; another handle after the sandbox died and was started again."""
        return self._resources.zygote.handle

    @property
    def in_force(self) -> Mapping[str, str]:
        """The active layers, each with a short description; the text of a missing layer begins with NO."""
        return self.handle.in_force

    @property
    def live_branches(self) -> int:
        """Number of live branches."""
        return self.pool.live

    @property
    def evicted_branches(self) -> int:
        """Number of branches that were closed to make room for others."""
        return self.pool.evicted + self._resources.memory.evicted

    @property
    def replayed_steps(self) -> int:
        """Number of steps run again to rebuild evicted interpreters."""
        return self._resources.counts["replayed"]

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of `restarts` of the sandbox, and of processes ended by something else than their step, by kind."""
        return {name: count for name, count in sorted(self._resources.counts.items()) if name != "replayed"}

    async def start(self, task: Task, call_tool: CallTool) -> SandboxInterpreter:
        """Start an interpreter and run the task's preamble in it. Raises SandboxError if the preamble fails."""
        root = SandboxInterpreter(self._resources, call_tool)
        await root.build()
        if task.preamble.strip():
            execution = await root.run_preamble(task.preamble)
            if not execution.ran:
                await root.close()
                raise SandboxError(f"the preamble of task {task.id} failed: {execution.error}. Correct the task's data")
        return root

    async def audit(self) -> None:
        """Look at idle processes every AUDIT_SECONDS and kill those that use CPU although no operation needs them."""
        while True:
            await asyncio.sleep(AUDIT_SECONDS)
            for process in self.handle.processes():
                if process is not self._resources.zygote:
                    self._audit(process)
                await asyncio.sleep(0)

    def _audit(self, process: ManagedProcess) -> None:
        if process.active_operations:
            self._audited.pop(process, None)
            return
        operations, cpu_seconds = self._audited.get(process, (-1, 0.0))
        used = read_cpu_seconds(process.pid)
        if operations != process.total_operations:
            self._audited[process] = (process.total_operations, used)
        elif used - cpu_seconds > AUDIT_TOLERANCE:
            process.kill()


def _compute_capacity() -> int:
    """Number of live branches that the limits on files and processes allow. Raises the soft limit on open files."""
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
