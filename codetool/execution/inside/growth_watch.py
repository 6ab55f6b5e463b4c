"""The watch over the memory that running steps allocate: suspends them before the host gets a core to decide.

The sandbox's root process runs it. It has a session of its own and does nothing else, so the kernel gives it a core
within milliseconds, also beside hundreds of busy processes, while the host may wait for seconds. It decides nothing:
suspended steps allocate nothing, and the host, when it runs, kills some or makes room, and resumes the others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time

from codetool.execution.inside.growth_table import GrowthTable, Row
from codetool.execution.inside.kernel import syscall
from codetool.execution.inside.limits import parse_anonymous_memory

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.005, 0.1
"""Shortest and longest time between two looks."""
BYTES_PER_CORE_SECOND = 4 * 2**30
"""Memory that a step can fill at most in a second on one core; gives the time in which the budget cannot be spent."""
MAX_CPU_SHARE = 0.25
"""Share of a core that the looks may take."""
_SLICE_NANOSECONDS = 100_000
"""Time slice that the process asks for: the shorter, the sooner it gets a core when it wakes (Linux 6.12)."""
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}


class GrowthWatch:
    """Compares what the running steps in the table have allocated with their budget."""

    def __init__(self, table: GrowthTable, proc: int, host: int) -> None:
        """`proc` is the open folder /proc, `host` an eventfd that tells the host that steps were suspended."""
        self._table, self._proc, self._host = table, proc, host
        self._growth: dict[int, int] = {}
        """Bytes that each process allocated since the last measurement, also if its step has ended meanwhile."""
        self._suspended: set[int] = set()
        self._files: dict[int, int] = {}
        """The open file `statm` of each process."""
        self._measurements = self._answers = -1

    def look(self) -> float:
        """Suspend all steps that allocated memory if their budget is spent; returns the seconds until the next look."""
        start = time.thread_time()
        if self._measurements != self._table.measurements:
            self._measurements = self._table.measurements
            self._growth.clear()
        if self._answers != self._table.answers:
            self._answers = self._table.answers
            self._suspended.clear()
        steps = self._table.list_steps()
        for step in steps:
            if step.pid not in self._suspended:
                self._growth[step.pid] = max(0, self._measure_memory(step.pid) - step.base)
        self._close_files(keep={step.pid for step in steps})
        rest = self._table.budget - sum(self._growth.values())
        if rest < 0:
            self._suspend([step for step in steps if self._growth.get(step.pid) and step.pid not in self._suspended])
        pause = rest / (BYTES_PER_CORE_SECOND * (os.cpu_count() or 1))
        return max(MIN_PAUSE_SECONDS, min(MAX_PAUSE_SECONDS, pause), (time.thread_time() - start) / MAX_CPU_SHARE)

    def _measure_memory(self, process: int) -> int:
        """Bytes of anonymous memory of a process, including what it shares with other forks; 0 if it has ended.

        Its file stays open. Opening it by name while the process ends would wait, busily, until it gets a core to end.
        """
        try:
            if process not in self._files:
                self._files[process] = os.open(f"{process}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            return parse_anonymous_memory(os.pread(self._files[process], 256, 0))
        except (OSError, ValueError):
            return 0

    def _close_files(self, keep: set[int]) -> None:
        for process in self._files.keys() - keep:
            os.close(self._files.pop(process))

    def _suspend(self, steps: list[Row]) -> None:
        if not steps:
            return
        try:
            for step in sorted(steps, key=lambda step: -self._growth[step.pid]):
                self._table.set_suspended(step.number, time.monotonic_ns())
                with contextlib.suppress(OSError):
                    os.kill(step.pid, signal.SIGSTOP)
                self._suspended.add(step.pid)
        finally:
            os.eventfd_write(self._host, 1)


def watch_growth(child: int, descriptor: int, host: int, proc: int) -> None:
    """Watch until the process `child` ends. `descriptor` is the table, the others are as for GrowthWatch."""
    end = os.pidfd_open(child)
    poller = select.poll()
    poller.register(end, select.POLLIN)
    with contextlib.suppress(OSError, KeyError):
        _request_short_slice()
    watch = GrowthWatch(GrowthTable(descriptor), proc, host)
    pause = MIN_PAUSE_SECONDS
    while not poller.poll(1000 * pause):
        pause = watch.look()


def _request_short_slice() -> None:
    """Ask the scheduler for a short time slice. Raises OSError, or KeyError on an unknown machine."""
    attributes = (ctypes.c_uint32 * 12)(48, 0, 0, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, _SLICE_NANOSECONDS)
    syscall(_SCHED_SETATTR[os.uname().machine], 0, ctypes.byref(attributes), 0)
