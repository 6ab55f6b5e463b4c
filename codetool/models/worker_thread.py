"""A worker thread that owns a model: jobs are submitted from any thread, and each round works on all active jobs."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from codetool.models.kernel_memory import limit_kernel_caches

log = logging.getLogger(__name__)

LOAD_SECONDS = 1.0
"""Time between two looks at the machine's load."""


class WorkerJob(Protocol):
    """A job for the worker thread."""

    @property
    def result(self) -> Future[Any]:
        """Future of the result; cancelling it removes the job before the next round."""
        ...


Work = TypeVar("Work", bound=WorkerJob)
Model = TypeVar("Model")


class CpuShares:
    """Divides the CPU cores of this process among its worker threads.

    A policy and a PRM in one process compute at the same time. If each used every core, their helper threads would wait
    for each other at every operation, and both would be slower than with one core each. The same holds beside other
    programs: a helper thread that waits for a core stalls all the others at each of several hundred operations a token.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers = 0
        self._share = 1
        self._load = 0.0
        """Average number of threads that ran or waited for a core in the last minute, on the whole machine."""
        self._measured = -math.inf

    def add_thread(self) -> None:
        """Count one more worker thread."""
        with self._lock:
            self._workers += 1

    def remove_thread(self) -> None:
        """Count one worker thread less."""
        with self._lock:
            self._workers -= 1

    def compute_share(self) -> int:
        """Return the number of CPU threads for each worker thread, at least 1."""
        with self._lock:
            workers = max(1, self._workers)
            self._share = max(1, min(count_available_cores(), self._count_idle_cores(workers)) // workers)
            return self._share

    def _count_idle_cores(self, workers: int) -> int:
        """Return the number of the machine's cores that other programs leave, as far as the load of a minute tells."""
        if time.monotonic() - self._measured >= LOAD_SECONDS:
            self._measured, self._load = time.monotonic(), measure_load()
        of_others = max(0.0, self._load - self._share * workers)
        return round((os.cpu_count() or 1) - of_others)


CPU_SHARES = CpuShares()
"""The shares of this process; there is one instance, since all workers use the same cores."""


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


class WorkerThread(Generic[Work, Model]):
    """A worker thread with its model. `submit` can be called from any thread; call `close` once at the end.

    The thread loads the model as well: torch keeps a pool of helper threads for every thread that computes, and if all
    pools together have more threads than there are cores, they sleep between operations, which halves the speed.
    """

    def __init__(
        self, name: str, load: Callable[[], Model], work: Callable[[], None], threads: int | None = None
    ) -> None:
        """Start the thread and wait until it has loaded the model. Raises what `load` raises.

        `work` does one round on the jobs in `active`, in torch's inference mode. `threads` is the number of CPU
        threads; None takes an equal share of the cores for each worker thread of this process.
        """
        self.active: list[Work] = []
        """Jobs that are started and not finished; only the worker thread uses the list."""
        self.closed = False
        self._name, self._load, self._round, self._threads = name, load, work, threads
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._loaded: Future[Model] = Future()
        # Completely, before the thread imports it by way of torch: two threads that import parts of a package with
        # circular imports at the same time can see it half imported.
        import numpy  # noqa: F401

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
        """Stop after the current round and cancel unfinished jobs."""
        with self._changed:
            self.closed = True
            self._changed.notify()
        self._thread.join()
        for job in (*self.active, *self._waiting):
            job.result.cancel()

    def take_job(
        self, fits: Callable[[Work], bool] = lambda job: True, priority: Callable[[Work], float] = lambda job: 0.0
    ) -> Work | None:
        """Activate and return the waiting job of highest priority, if it fits, else None; drop cancelled jobs.

        Of several with the same priority it is the one that has waited longest. Only `work` calls this method.
        """
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.result.cancelled())
            if self.closed or not self._waiting:
                return None
            job = max(self._waiting, key=priority)
            if not fits(job):
                return None
            self._waiting.remove(job)
            self.active.append(job)
            return job

    def _run(self) -> None:
        CPU_SHARES.add_thread()
        try:
            self._load_and_work()
        finally:
            CPU_SHARES.remove_thread()

    def _load_and_work(self) -> None:
        import torch

        try:
            limit_kernel_caches()
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
        """Set torch's number of threads to `threads`, or to the current share, which changes as workers come and go."""
        import torch

        threads = self._threads or CPU_SHARES.compute_share()
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def _wait_for_work(self) -> bool:
        """Wait until there are jobs, and return True; return False once the worker is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self.active or self._waiting)
            return not self.closed

    def _fail_active_jobs(self, error: Exception) -> None:
        for job in self.active:
            if not job.result.done():
                job.result.set_exception(error)
        self.active = []
