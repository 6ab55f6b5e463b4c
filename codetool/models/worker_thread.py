"""A worker thread that owns a model: jobs are submitted from any thread, and each round works on all active jobs."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from codetool.models.cpu_shares import CPU_SHARES
from codetool.models.kernel_memory import limit_kernel_caches

log = logging.getLogger(__name__)


class WorkerJob(Protocol):
    """A job for the worker thread."""

    @property
    def result(self) -> Future[Any]:
        """Future of the result; cancelling it removes the job before the next round."""
        ...


Work = TypeVar("Work", bound=WorkerJob)
Model = TypeVar("Model")


class WorkerThread(Generic[Work, Model]):
    """A worker thread with its model. `submit` can be called from any thread; call `close` once at the end.

    The thread loads the model as well, on one core: torch keeps a pool of helper threads for every thread that has
    computed on more than one.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Model],
        work: Callable[[], None],
        threads: int | None = None,
        *,
        uses_idle_cores: bool = False,
    ) -> None:
        """Start the thread and wait until it has loaded the model. Raises what `load` raises.

        `work` does one round on the jobs in `active`, in torch's inference mode. `threads` is the maximum number of CPU
        threads; None has no maximum. How many there are in a round, `CpuShares` says; with `uses_idle_cores` they are
        more while the other worker threads wait.
        """
        self.active: list[Work] = []
        """Jobs that are started and not finished; only the worker thread uses the list."""
        self.closed = False
        self._name, self._load, self._round, self._threads = name, load, work, threads
        self._uses_idle_cores = uses_idle_cores
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
        with CPU_SHARES.add_thread(uses_idle_cores=self._uses_idle_cores):
            self._load_and_work()

    def _load_and_work(self) -> None:
        import torch

        try:
            limit_kernel_caches()
            torch.set_num_threads(1)
            self._loaded.set_result(self._load())
        except Exception as error:
            self._loaded.set_exception(error)
            return
        with torch.inference_mode():
            while self._wait_for_work():
                try:
                    with CPU_SHARES.compute(self._threads) as threads:
                        if threads != torch.get_num_threads():
                            torch.set_num_threads(threads)
                        self._round()
                except Exception as error:  # a defect must reach those who wait, not end the thread in silence
                    log.exception("%s failed", self._name)
                    self._fail_active_jobs(error)

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
