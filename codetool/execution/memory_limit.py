"""Bound the memory of all live processes of a sandbox together (`executor.total_memory`).

The limit is enforced by measuring. While an operation runs, the anonymous memory of its process and the size of its
scratch files, which lie in memory, are read ten times a second, which is cheap but counts pages that a process shares
with its parent; only if that sum exceeds the limit are the largest processes measured exactly. Then idle processes are
evicted first, as they can be rebuilt. If that does not suffice, the largest running process is killed. Its step is not
to blame: it is run again when there is room for all that it may allocate, and is not killed for memory a second time.

Between two looks, for which the host may wait seconds on a busy machine, the sandbox's root process watches what the
running steps allocate, and suspends them when that is more than was left at the last look (`growth_guard`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from codetool.execution.growth_guard import GrowthGuard
from codetool.execution.inside.kernel import syscall
from codetool.execution.interruption import Interruption
from codetool.execution.managed_process import ManagedProcess
from codetool.execution.process_status import measure_exact_memory, measure_memory, measure_scratch

logger = logging.getLogger(__name__)

LOOK_SECONDS, CLOSE_LOOK_SECONDS = 0.1, 0.02
"""Seconds between two looks at the processes, and while they use more than half of the limit."""
ROOM_SECONDS = 0.05
"""Seconds between two looks of a step that waits for room."""
RUNNING_VALID_SECONDS, IDLE_VALID_SECONDS = 0.5, 5.0
"""Seconds for which an exact measurement counts; sharing changes meanwhile."""
_PROCESS_MRELEASE = 448
"""Number of the system call that frees the memory of a process that is being killed."""
MIB = 2**20
SPARE_SHARE = 1 / 16
"""Share of the limit that is freed, if idle processes hold as much, when steps were suspended at the limit."""
DEFAULT_SHARE = 0.5
"""Share of the machine's memory that all processes together may use if no limit is set."""


@dataclass
class _Figure:
    """Last measurements of one process, in bytes."""

    operations: int = -1
    """Number of operations of an idle process when `cheap` was measured, -1 while it runs."""
    scratch: int = 0
    """Memory of the files of its scratch folder, where that is a mount of its own."""
    anonymous: int = 0
    """Anonymous memory with all that is shared."""
    exact: int | None = None
    """Memory with its share of what is shared, and `scratch`; None if it is unknown."""
    cheap_then: int = 0
    """`cheap` when `exact` was measured, at the time `measured`."""
    measured: float = -math.inf

    @property
    def cheap(self) -> int:
        """Anonymous memory with all that is shared, and `scratch`."""
        return self.anonymous + self.scratch

    def estimate(self, running: bool) -> int:
        """The exact figure with the growth since, while it is new enough, else the cheap one."""
        valid = RUNNING_VALID_SECONDS if running else IDLE_VALID_SECONDS
        if self.exact is None or time.monotonic() - self.measured > valid:
            return self.cheap
        return self.exact + max(0, self.cheap - self.cheap_then)

    def measure_exactly(self, pid: int) -> None:
        """Measure the process exactly unless that is new enough."""
        if time.monotonic() - self.measured > RUNNING_VALID_SECONDS:
            exact = measure_exact_memory(pid)
            self.exact = None if exact is None else exact + self.scratch
            self.cheap_then, self.measured = self.cheap, time.monotonic()


class MemoryLimit:
    """Watches the memory of all processes that `list_processes` returns, in the order of their last use."""

    def __init__(
        self,
        limit: int,
        memory: int,
        list_processes: Callable[[], Iterable[ManagedProcess]],
        guard: GrowthGuard | None = None,
    ) -> None:
        """`limit` is bytes of all processes together, `memory` is what one of them may allocate."""
        self._guard = guard or GrowthGuard()
        self._guard.publish(limit, {})
        self.limit, self.stopped, self.evicted = limit, 0, 0
        self._memory, self._list_processes = memory, list_processes
        self._figures: WeakKeyDictionary[ManagedProcess, _Figure] = WeakKeyDictionary()
        self._turn = asyncio.Lock()
        self._reserved = 0
        """Number of steps that are run again, each with room for all that it may allocate."""

    async def watch(self) -> None:
        """Enforce the limit every LOOK_SECONDS, every CLOSE_LOOK_SECONDS while more than half of it is used."""
        while True:
            await asyncio.sleep(CLOSE_LOOK_SECONDS if self.enforce() > self.limit // 2 else LOOK_SECONDS)

    @asynccontextmanager
    async def wait_for_room(self) -> AsyncIterator[None]:
        """Wait until a step that is run again has room for all that it may allocate, and reserve this."""
        async with self._turn:
            while not self._make_room():
                await asyncio.sleep(ROOM_SECONDS)
            self._reserved += 1
        try:
            yield
        finally:
            self._reserved -= 1

    @contextmanager
    def watch_step(self, process: ManagedProcess) -> Iterator[None]:
        """Suspend the step that a process runs when all steps have allocated what is left, until there is room."""
        with self._guard.watch(process, self._find_base(process)):
            yield

    def relieve(self) -> None:
        """Make room for the steps that were suspended, and resume those that are not killed."""
        try:
            self.enforce(spare=int(SPARE_SHARE * self.limit))
        finally:
            self._guard.resume(self._list_processes())

    def enforce(self, spare: int = 0) -> int:
        """Evict idle processes, then kill the largest running ones, until the limit is kept; returns the bytes used.

        Idle processes are evicted until `spare` bytes are left.
        """
        usage = self._measure()
        excess = self._find_excess(usage, self.limit - spare)
        used = self.limit - spare + excess
        excess -= self._evict(usage, excess)
        running = [process for process in usage if process.alive and process.active_operations]
        running.sort(key=lambda process: (process.protected, -usage[process]))
        for process in running:
            if excess <= spare or process.protected:
                break
            excess -= usage[process]
            self._stop(process, usage[process])
        self._guard.publish(spare - excess, {process: self._figures[process].anonymous for process in running})
        return used

    def _find_base(self, process: ManagedProcess) -> int:
        """Bytes of a process that are counted already: by its last measurement, else what it shares with its parent."""
        while process not in self._figures and process.parent is not None:
            process = process.parent
        figure = self._figures.setdefault(process, _Figure())
        if not figure.anonymous:
            figure.anonymous = measure_memory(process.pid)  # the zygote, which allocates nothing later
        return figure.anonymous

    def _make_room(self) -> bool:
        """Evict idle processes until one more process has room; whether it has."""
        limit = self.limit - (self._reserved + 1) * self._memory
        if limit < 0:
            return False
        usage = {process: size for process, size in self._measure().items() if not process.protected}
        excess = self._find_excess(usage, limit)
        return excess <= 0 or excess <= self._evict(usage, excess)

    def _measure(self) -> dict[ManagedProcess, int]:
        """Bytes of each process, at least what it really uses; an idle one keeps its figure."""
        usage = {}
        for process in list(self._list_processes()):
            figure = self._figures.setdefault(process, _Figure())
            if process.active_operations or figure.operations != process.total_operations:
                figure.scratch = measure_scratch(process.pid) if process.scratch_device else 0
                figure.anonymous = measure_memory(process.pid)
                figure.operations = -1 if process.active_operations else process.total_operations
            usage[process] = figure.estimate(bool(process.active_operations))
        return usage

    def _find_excess(self, usage: dict[ManagedProcess, int], limit: int) -> int:
        """Bytes by which the processes exceed `limit`; while they seem to, the largest are measured exactly."""
        excess = sum(usage.values()) - limit
        for process in sorted(usage, key=lambda process: -usage[process]):
            if excess <= 0:
                break
            figure = self._figures[process]
            figure.measure_exactly(process.pid)
            exact = min(usage[process], figure.estimate(bool(process.active_operations)))
            excess -= usage[process] - exact
            usage[process] = exact
        return excess

    def _evict(self, usage: dict[ManagedProcess, int], excess: int) -> int:
        """Kill idle processes, the least recently used first, until `excess` bytes are freed; the bytes freed."""
        freed = 0
        for process in usage:
            if freed >= excess:
                break
            if process.alive and not process.active_operations:
                freed += usage[process]
                self.evicted += 1
                _kill_and_release(process, None)
        return freed

    def _stop(self, process: ManagedProcess, size: int) -> None:
        if not self.stopped:
            logger.warning(
                "All interpreters together exceeded executor.total_memory=%d MiB, so the largest step (%d MiB) was "
                "stopped. It is run again when there is room. Set a larger executor.total_memory or a lower "
                "concurrency to avoid this.",
                self.limit // MIB,
                size // MIB,
            )
        self.stopped += 1
        self._guard.forget(process)
        _kill_and_release(process, "memory")


def _kill_and_release(process: ManagedProcess, reason: Interruption | None) -> None:
    """Kill a process and free its memory at once, without waiting until the process gets a core to end."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except (OSError, AttributeError):  # it has ended, or this system has no pidfds
        process.kill(reason)
        return
    process.kill(reason)
    with contextlib.suppress(OSError, AttributeError):  # Linux before 5.15
        syscall(_PROCESS_MRELEASE, pidfd, 0)
    os.close(pidfd)


def choose_total_memory() -> int:
    """MiB that all processes may use if no limit is set: a share of the memory of this machine or container."""
    sizes = [_read_number("/proc/meminfo", b"MemTotal:") * 1024]
    sizes += [_read_number("/sys/fs/cgroup/memory.max"), _read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    known = [size for size in sizes if size > 0]
    return int(DEFAULT_SHARE * min(known)) // MIB if known else 2**20


def _read_number(file: str, label: bytes = b"") -> int:
    """The number after `label` in a file, 0 if there is none."""
    try:
        text = Path(file).read_bytes()
        return int(text.partition(label)[2].split()[0] if label else text)
    except (OSError, ValueError, IndexError):
        return 0
