"""A timer of a sandboxed process's own time, so that a busy machine ends no step early.

A process's own time is the CPU time of all its threads, plus the wall time in which none of them ran or waited for a
core. So a computing step ends by its CPU time, threads add up, a sleeping or blocked step ends by wall time, and
waiting for a core counts for nothing. The time is sampled: every 0.25 s at first, more often near the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator

from codetool.errors import SandboxError
from codetool.execution.fork_supervisor import MAX_THREADS
from codetool.execution.managed_process import Suspension
from codetool.execution.pausable_timer import MAX_GAP, PausableTimer
from codetool.execution.process_status import is_runnable, read_core_waits, read_cpu_seconds

MAX_SAMPLE_SECONDS, MIN_SAMPLE_SECONDS = 0.25, 0.004
"""Longest and shortest time between two samples."""
EXACT_SECONDS = 0.001
"""Of shorter intervals, waiting for a core is not told from sleeping, which would take a tenth of their time."""
MAX_WALL_FACTOR, MIN_WALL_SECONDS = 60, 60.0
"""A process that waits for a core longer than this many times its limit, and this many seconds, is given up."""


class OverloadedError(SandboxError):
    """The machine gave a process so little of its cores that its limit cannot be measured."""


class ProcessTimer(PausableTimer):
    """A timer of one process's own time that starts when it is created. `elapsed` remains wall time."""

    def __init__(self, limit: float, process: int, suspension: Suspension | None = None) -> None:
        """`limit` in seconds of the own time of `process`, the host's process id.

        The time of its `suspension` does not count.
        """
        super().__init__(limit)
        self._process = process
        self._first_cpu = self._last_cpu = read_cpu_seconds(process)
        self._sampled = time.monotonic()
        self._suspension = suspension
        self._suspended = self._measure_suspended()
        self._waits: dict[str, float] = {}
        self._idle = 0.0
        self._unsettled = self._unsettled_cpu = 0.0
        """Wall time, and CPU time within it, of which it is not known yet how much the process was idle."""
        self._least_idle = 0.0
        """How much of the unsettled time the process was idle at least."""

    @property
    def own_seconds(self) -> float:
        """The process's own time at the last sample."""
        return self._last_cpu - self._first_cpu + self._idle + self._least_idle

    def stop(self) -> float:
        """Take a last sample; the process's own time until now."""
        self._sample(MAX_SAMPLE_SECONDS)
        return self.own_seconds

    async def wait_within_limit(self, wait: Callable[[], Awaitable[None]]) -> bool:
        """Await `wait()`; True if it ended in time, False if the limit passed. Raises OverloadedError.

        Many short waits, as for the bytes of a message that drips, are sampled as often as a long one.
        """
        while True:
            planned = self._plan_sample()
            rest = planned - (time.monotonic() - self._sampled)
            try:
                if rest > 0:
                    async with asyncio.timeout(rest):
                        await wait()
                        return True
            except TimeoutError:
                pass
            if self.is_over(planned):
                return False

    def is_over(self, planned: float = MAX_SAMPLE_SECONDS) -> bool:
        """Take a sample, `planned` seconds after the last one; whether the limit has passed. Raises OverloadedError."""
        self._sample(planned)
        if self.own_seconds >= self.limit:
            return True
        if self.elapsed > max(MIN_WALL_SECONDS, MAX_WALL_FACTOR * self.limit):
            raise OverloadedError(
                f"a step waited {self.elapsed:.0f} s for a core and had only {self.own_seconds:.1f} s of its "
                f"{self.limit:g} s: the machine is overloaded. Set a lower concurrency, or use more cores"
            )
        return False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Context in which waiting does not count; CPU time that other threads use does."""
        self._sample(MAX_SAMPLE_SECONDS)
        with super().paused():
            yield
        self._sampled, self._last_cpu = time.monotonic(), read_cpu_seconds(self._process) or self._last_cpu
        self._suspended = self._measure_suspended()

    def _plan_sample(self) -> float:
        """Seconds until the next sample: none of the threads that may run at once can exceed the limit much before."""
        parallel = min(os.cpu_count() or 1, MAX_THREADS)
        rest = (self.limit - self.own_seconds) / parallel
        return min(MAX_SAMPLE_SECONDS, max(MIN_SAMPLE_SECONDS, rest))

    def _sample(self, planned: float) -> None:
        now, cpu = time.monotonic(), read_cpu_seconds(self._process)
        passed, used = now - self._sampled, max(0.0, cpu - self._last_cpu)
        if passed > planned + MAX_GAP:  # the host itself was stopped (Ctrl-Z) or busy
            passed = planned
        self._sampled, self._last_cpu = now, max(cpu, self._last_cpu)
        is_exact = passed < EXACT_SECONDS and not self._unsettled
        self._unsettled += passed
        self._unsettled_cpu += used
        if is_exact or self._unsettled_cpu >= 0.95 * self._unsettled:
            self._settle(self._unsettled - self._unsettled_cpu if is_exact else 0.0)
        else:
            self._measure_idle(passed, has_run=used > 0)

    def _measure_idle(self, passed: float, *, has_run: bool) -> None:
        """Find how much of the unsettled time the process waited for anything but a core.

        A thread that waits for a core has not been charged for this wait yet, so the time is settled by a later sample.
        If the process `has_run` since the last sample, `passed` seconds ago, the wait is no longer than that.
        """
        waits = read_core_waits(self._process)
        waited = sum(max(0.0, seconds - self._waits.get(thread, 0.0)) for thread, seconds in waits.items())
        suspended = self._measure_suspended()
        idle = self._unsettled - self._unsettled_cpu - waited - (suspended - self._suspended)
        if idle <= 0 or not is_runnable(self._process):
            self._waits, self._suspended = waits, suspended
            self._settle(idle)
        elif has_run:
            self._least_idle = max(0.0, idle - passed)

    def _measure_suspended(self) -> float:
        return self._suspension.measure_seconds() if self._suspension else 0.0

    def _settle(self, idle: float) -> None:
        self._idle += max(0.0, idle)
        self._unsettled = self._unsettled_cpu = self._least_idle = 0.0
