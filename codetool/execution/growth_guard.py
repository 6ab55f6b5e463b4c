"""The host's side of the watch over memory growth (`inside/growth_watch.py`): what steps may allocate, and who resumes.

Without Linux's shared memory and event files it watches no step, and `memory_limit` alone keeps the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codetool.execution.inside.growth_table import GrowthTable
from codetool.execution.managed_process import ManagedProcess

_NANOSECONDS = 1e9


@dataclass(eq=False)
class _WatchedStep:
    """A running step in a row of the table. `seconds` is how long it was suspended before."""

    table: GrowthTable
    row: int
    process: ManagedProcess
    seconds: float = 0.0

    def measure_seconds(self) -> float:
        """Seconds for which the step was suspended so far."""
        since = self.table.read_suspended(self.row)
        return self.seconds + ((time.monotonic_ns() - since) / _NANOSECONDS if since else 0.0)


class GrowthGuard:
    """Has running steps watched, and resumes those that were suspended."""

    def __init__(self, table: GrowthTable | None = None, descriptors: tuple[int, ...] = ()) -> None:
        """`descriptors` are the table and the eventfd; without a table it does nothing."""
        self.descriptors = descriptors
        self._table = table
        self._free = list(range(table.rows - 1, -1, -1)) if table else []
        self._steps: dict[ManagedProcess, _WatchedStep] = {}

    @classmethod
    def open(cls, rows: int) -> GrowthGuard:
        """A guard for at most `rows` running steps; `close` ends it."""
        if sys.platform != "linux":
            return cls()
        try:
            Path("/proc/self/statm").stat()
            file = os.memfd_create("codetool-growth")
        except OSError:
            return cls()
        os.truncate(file, GrowthTable.compute_size(rows))
        return cls(GrowthTable(file), (file, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)))

    def listen(self, relieve: Callable[[], None]) -> None:
        """Call `relieve`, which must call `resume`, whenever steps were suspended."""
        if self._table:
            asyncio.get_running_loop().add_reader(self.descriptors[1], self._hear, relieve)

    def _hear(self, relieve: Callable[[], None]) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptors[1])
            relieve()

    @contextmanager
    def watch(self, process: ManagedProcess, base: int) -> Iterator[None]:
        """Have a step watched while it runs. `base`: bytes of its process that are counted already."""
        if self._table is None or not self._free:
            yield
            return
        row = self._free.pop()
        step = self._steps[process] = _WatchedStep(self._table, row, process)
        process.suspension = step
        self._table.begin(row, process.pid, base)
        try:
            yield
        finally:
            step.table.end(row)
            process.suspension = None
            del self._steps[process]
            self._free.append(row)

    def forget(self, process: ManagedProcess) -> None:
        """Watch a process no more, which is to be killed."""
        step = self._steps.get(process)
        if step:
            step.table.end(step.row)

    def publish(self, budget: int, measured: Mapping[ManagedProcess, int]) -> None:
        """Say how many bytes all steps together may allocate beyond what was `measured`."""
        if self._table:
            for process, step in self._steps.items():
                if process in measured:
                    self._table.set_base(step.row, measured[process])
            self._table.set_budget(budget)

    def resume(self, processes: Iterable[ManagedProcess]) -> None:
        """Resume all suspended processes. One may be suspended a moment after its step has ended, so all are told."""
        if self._table is None:
            return
        suspended = [step for step in self._steps.values() if self._table.read_suspended(step.row)]
        for process in processes:
            process.resume()
        for step in suspended:
            step.seconds = step.measure_seconds()
            self._table.set_suspended(step.row, 0)
        self._table.count_answer()

    def close(self) -> None:
        """Watch no step any more."""
        if self._table:
            asyncio.get_running_loop().remove_reader(self.descriptors[1])
            self._table = None
            for descriptor in self.descriptors:
                os.close(descriptor)
