"""A thread that computes for many who wait: jobs arrive from anywhere, each round works on those that are there."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

log = logging.getLogger(__name__)


class WorkerJob(Protocol):
    """Something to compute."""

    @property
    def result(self) -> Future[Any]:
        """Where the result is awaited; cancelling it takes the job out before the next round."""
        ...


Work = TypeVar("Work", bound=WorkerJob)
Model = TypeVar("Model")


class CpuShares:
    """Divides the cores of this process among the threads that compute in it.

    A policy and a PRM in one process compute at the same time. Were each to use every core, their helper threads would
    wait for each other at every operation, and both would be slower than with one core each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._takers = 0

    def add_thread(self) -> None:
        """Count one more thread that computes."""
        with self._lock:
            self._takers += 1

    def remove_thread(self) -> None:
        """Count one less."""
        with self._lock:
            self._takers -= 1

    def compute_share(self) -> int:
        """CPU threads for each of those that compute, at least 1."""
        return max(1, count_available_cores() // max(1, self._takers))


CPU_SHARES = CpuShares()
"""Those of this process: its cores are one resource, whoever computes."""


def count_available_cores() -> int:
    """Cores that this process may use: those that it may run on, fewer where OMP_NUM_THREADS says so.

    joblib sets that variable in its workers, so that parallel cells of a sweep share the machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) else cores


class WorkerThread(Generic[Work, Model]):
    """The thread; use `submit` from anywhere and `close` once.

    The model is loaded by the thread too: torch keeps a pool of helper threads for every thread that computes, and as
    soon as the pools outnumber the cores their members sleep between any two operations (half the speed).
    """

    def __init__(
        self, name: str, load: Callable[[], Model], work: Callable[[], None], threads: int | None = None
    ) -> None:
        """`work` does one round on `active`, inside torch's inference mode. Raises what `load` raises.

        `threads` are CPU threads; None takes an equal share of the cores for each thread that computes in this process.
        """
        self.active: list[Work] = []
        """Jobs begun and not ended; the thread's own."""
        self.closed = False
        self._name, self._load, self._round, self._threads = name, load, work, threads
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._loaded: Future[Model] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.model = self._loaded.result()

    def submit(self, job: Work) -> None:
        """Queue a job. Raises RuntimeError once closed."""
        with self._changed:
            if self.closed:
                raise RuntimeError(f"the {self._name} thread is closed")
            self._waiting.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Stop after the current round; unfinished jobs are cancelled."""
        with self._changed:
            self.closed = True
            self._changed.notify()
        self._thread.join()
        for job in (*self.active, *self._waiting):
            job.result.cancel()

    def take_job(self, fits: Callable[[Work], bool] = lambda job: True) -> Work | None:
        """The job that waits longest, made active, if it fits; else None. Cancelled ones are dropped. For rounds."""
        with self._changed:
            while self._waiting and not self.closed:
                if self._waiting[0].result.cancelled():
                    self._waiting.popleft()
                elif fits(self._waiting[0]):
                    self.active.append(self._waiting.popleft())
                    return self.active[-1]
                else:
                    break
        return None

    def _run(self) -> None:
        CPU_SHARES.add_thread()
        try:
            self._load_and_work()
        finally:
            CPU_SHARES.remove_thread()

    def _load_and_work(self) -> None:
        import torch

        try:
            self._apply_cpu_share()
            self._loaded.set_result(self._load())
        except Exception as error:
            self._loaded.set_exception(error)
            return
        with torch.inference_mode():
            while self._wait_for_work():
                try:
                    self._apply_cpu_share()
                    self._round()
                except Exception as error:  # a defect must reach those who wait, not end the thread in silence
                    log.exception("%s failed", self._name)
                    self._fail_active_jobs(error)

    def _apply_cpu_share(self) -> None:
        """Compute with the threads asked for, or with a share that changes when others begin or end to compute."""
        import torch

        threads = self._threads or CPU_SHARES.compute_share()
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def _wait_for_work(self) -> bool:
        """Sleep until there is work; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self.active or self._waiting)
            return not self.closed

    def _fail_active_jobs(self, error: Exception) -> None:
        for job in self.active:
            if not job.result.done():
                job.result.set_exception(error)
        self.active = []
