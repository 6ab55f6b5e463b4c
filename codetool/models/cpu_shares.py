"""Divide the CPU cores of this process among the threads that compute with its models.

OpenMP, by which torch computes on several cores, keeps a pool of helper threads for each thread that has used one. The
helpers wait for the next operation without sleeping, for milliseconds. If all pools together have more threads than
there are cores, each helper sleeps after every operation instead, or waits for a core that another pool's helper keeps
busy. A token takes several hundred operations, so both are slower than one core for each thread. The rules below keep
the pools within the cores; the same holds beside other programs, for whose use of the cores `OtherPrograms` looks.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOAD_SECONDS = 1.0
"""Minimum time between two looks at what other programs use."""


class OtherPrograms:
    """Measures how many of the machine's cores other programs use."""

    def __init__(self) -> None:
        self._cores = 0.0
        self._last: tuple[float, float, float] | None = None
        """At the last look: seconds of the clock, of all cores together, and of this process."""

    def measure_cores(self) -> float:
        """Return the number of cores that other programs have used on average since the last look, a second ago.

        The first look has no earlier one: it returns the load of the last minute, to which this process has added
        little, since its models are only now loaded.
        """
        now = time.monotonic()
        if self._last is not None and now - self._last[0] < LOAD_SECONDS:
            return self._cores
        look = now, read_busy_seconds(), time.process_time()
        if self._last is None:
            self._cores = measure_load()
        else:
            elapsed, busy, own = (new - old for new, old in zip(look, self._last, strict=True))
            self._cores = max(0.0, (busy - own) / elapsed)
        self._last = look
        return self._cores


class CpuShares:
    """Divides the cores among worker threads, for one round of work at a time.

    A thread has an equal share of the cores, at least one, less those that other programs use. A thread that
    `uses_idle_cores` has more while the other threads wait for work; only one may, since each needs a pool for it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._others = OtherPrograms()
        self._workers: list[int] = []
        """Identifiers of the worker threads."""
        self._busy: set[int] = set()
        """Those that do a round at the moment."""
        self._favoured: int | None = None
        """The thread that uses idle cores."""

    @contextmanager
    def add_thread(self, *, uses_idle_cores: bool = False) -> Iterator[None]:
        """Count the current thread as a worker thread within the context; the first that asks uses idle cores."""
        own = threading.get_ident()
        with self._lock:
            self._workers.append(own)
            if uses_idle_cores and self._favoured is None:
                self._favoured = own
        try:
            yield
        finally:
            with self._lock:
                self._workers.remove(own)
                self._favoured = None if self._favoured == own else self._favoured

    @contextmanager
    def compute(self, limit: int | None = None) -> Iterator[int]:
        """Count the current thread as busy within the context; its number of CPU threads, at most `limit`."""
        own = threading.get_ident()
        with self._lock:
            self._busy.add(own)
            threads = self._count_threads(own)
        try:
            yield threads if limit is None else min(limit, threads)
        finally:
            with self._lock:
                self._busy.discard(own)

    def _count_threads(self, own: int) -> int:
        idle = round((os.cpu_count() or 1) - self._others.measure_cores())
        cores = max(1, min(count_available_cores(), idle))
        share = max(1, cores // max(1, len(self._workers)))
        if own != self._favoured:
            return share
        others = [worker for worker in self._workers if worker != own]
        # One that waits keeps the helpers of its pool, which are one fewer than its threads.
        kept = sum(share if worker in self._busy else share - 1 for worker in others)
        return max(share, cores - kept)


CPU_SHARES = CpuShares()
"""The shares of this process; there is one instance, since all workers use the same cores."""


def read_busy_seconds() -> float:
    """Return the seconds that all cores together have worked since the machine started; 0 where that is not told."""
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            user, nice, system, _, _, irq, soft_irq = map(int, file.readline().split()[1:8])
        return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


def measure_load() -> float:
    """Return the machine's load average of one minute; 0 where the system does not tell it."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0


def count_available_cores() -> int:
    """Return the number of cores that this process may use: its CPU affinity, limited by OMP_NUM_THREADS.

    joblib sets that variable in its workers, so that parallel cells of a sweep share the machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores
