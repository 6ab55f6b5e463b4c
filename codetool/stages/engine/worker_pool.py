"""Search the tasks of a run in workers that may be lost, wherever they are.

This process alone hands out tasks, takes reports and writes the run's folder. A lost worker is replaced, and what it
had is handed out again, see `hand_out.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError
from codetool.stages.engine import reports
from codetool.stages.engine.engine import RunJob
from codetool.stages.engine.hand_out import HandOut
from codetool.stages.engine.report_taker import ReportTaker
from codetool.stages.engine.reports import Report
from codetool.stages.engine.task_worker import END_SECONDS, WorkerOrder
from codetool.tools.answer_counts import BrokerCounts
from codetool.types import Task

CHECK_SECONDS = 1.0
"""Time between two looks at whether a worker is there, and at the run's budget."""
MAX_FAILED_STARTS = 3
"""Number of workers that may be lost in a row before one is ready, until no further one is started in their place."""
STOP_SECONDS = 3.0
"""Time within which the workers of a run that is stopped close their components."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class WorkerLostError(Exception):
    """A worker has ended or cannot be reached."""


class Worker(Protocol):
    """A worker as the pool sees it: `TaskWorker` behind whatever leads to it. Only `start` and `fetch` wait."""

    def __hash__(self) -> int:
        """Distinguish workers."""
        ...

    @property
    def place(self) -> str:
        """Where it runs, for messages."""
        ...

    def is_gone(self) -> bool:
        """Whether the machine it ran on has been removed, also if it still answers."""
        ...

    async def start(self, order: WorkerOrder) -> None:
        """Start it. Raises WorkerLostError."""
        ...

    async def fetch(self) -> list[Report]:
        """Return its new reports, after a while also without any. Raises WorkerLostError."""
        ...

    def assign(self, task: Task, attempt: int, known: Sequence[Mapping[str, Any]]) -> None:
        """Let it search a task."""
        ...

    def stop_searches(self, limit: str) -> None:
        """Let it end its searches with their best paths so far."""
        ...

    def close(self) -> None:
        """Let it close its components and report `Closed`."""
        ...

    def kill(self) -> None:
        """End it at once, wherever it is. Never raises."""
        ...


class WorkerFailedError(CodeToolError):
    """A worker cannot open its components; it has the exit code of what happened there."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@asynccontextmanager
async def open_pool(
    job: RunJob, order: WorkerOrder, create: Callable[[], Worker], count: int, per_worker: int
) -> AsyncIterator[WorkerPool]:
    """Start `count` workers and yield the pool once the first is ready; all of them are ended on leaving.

    `create` makes a worker that is not started yet. Raises WorkerFailedError if none can open its components.
    """
    pool = WorkerPool(job, order, create, count, per_worker)
    try:
        await pool.wait_until_ready()
        yield pool
    finally:
        await pool.close(STOP_SECONDS)


class WorkerPool:
    """The workers of a run; an engine."""

    def __init__(
        self, job: RunJob, order: WorkerOrder, create: Callable[[], Worker], count: int, per_worker: int
    ) -> None:
        """Start the workers in the background. Needs a running event loop."""
        self._job, self._order, self._create, self._count = job, order, create, count
        self._hand_out = HandOut(job.tasks, per_worker)
        self._taker = ReportTaker(job, self._hand_out)
        self._workers: dict[Worker, bool] = {}
        """Each worker, with whether it is ready."""
        self._ready, self._done = asyncio.Event(), asyncio.Event()
        self._failures: list[WorkerFailedError] = []
        self._is_running = self._is_closing = False
        self._limit: str | None = None
        self._serving = asyncio.ensure_future(gather_or_cancel(self._keep_worker() for _ in range(count)))

    @property
    def in_force(self) -> Mapping[str, str]:
        """The layers of the workers' sandboxes: those that all of them have."""
        return self._taker.in_force

    @property
    def counts(self) -> Mapping[str, int]:
        """How often what has happened to the workers' sandboxes so far."""
        return self._taker.count_sandbox_events()

    def count_answers(self) -> BrokerCounts:
        """Return what the brokers of the workers that were closed have answered."""
        return self._taker.answers

    async def wait_until_ready(self) -> None:
        """Return once a worker is ready. Raises WorkerFailedError if none can be."""
        await self._wait_for(self._ready.wait())

    async def run(self) -> None:
        """Search and commit every task, then close the workers. Raises WriteError, WorkerFailedError."""
        self._is_running = True
        self._check_limit()
        for worker in self._workers:
            self._assign(worker)
        self._check_done()
        watching = asyncio.ensure_future(self._watch_limit())
        try:
            await self._wait_for(self._done.wait())
        finally:
            watching.cancel()
        await self.close(END_SECONDS)

    async def close(self, seconds: float) -> None:
        """Close the workers within this time, and kill those that are left."""
        self._is_closing = True
        for worker, is_ready in list(self._workers.items()):
            worker.close() if is_ready else worker.kill()
        with suppress(Exception):  # it has been raised, or the run is being stopped for another reason
            await asyncio.wait({self._serving}, timeout=seconds)
        self._serving.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await self._serving
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    async def _wait_for(self, event: Coroutine[Any, Any, object]) -> None:
        """Wait for an event, or raise what has ended the workers meanwhile."""
        waiting = asyncio.ensure_future(event)
        try:
            await asyncio.wait({waiting, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._serving.done() and not self._done.is_set():
            await self._serving
            raise self._failures[0] if self._failures else WorkerFailedError("no worker is left")

    async def _keep_worker(self) -> None:
        """Serve one worker after the other, each in place of a lost one, until the run is done."""
        failed_starts = 0
        while not (self._done.is_set() or self._is_closing):
            worker = self._create()
            self._workers[worker] = False
            try:
                await self._serve(worker)
                break
            except WorkerLostError as error:
                failed_starts = 0 if self._workers[worker] else failed_starts + 1
                await self._take_back(worker, error)
                if failed_starts == MAX_FAILED_STARTS:
                    message = f"{MAX_FAILED_STARTS} workers on {worker.place} ended while they started ({error})"
                    self._report_failure(worker, WorkerFailedError(message))
                    break
            except WorkerFailedError as error:
                self._report_failure(worker, error)
                break
            finally:
                worker.kill()
                self._workers.pop(worker, None)

    async def _take_back(self, worker: Worker, error: WorkerLostError) -> None:
        """Hand out again what a lost worker had, unless the run is ending."""
        if self._is_closing:
            return
        log.warning("a worker on %s was lost (%s): its tasks are searched again", worker.place, error)
        await self._taker.take_back(worker)
        if self._limit is not None:
            self._hand_out.drop_waiting()
        self._check_done()

    def _report_failure(self, worker: Worker, error: WorkerFailedError) -> None:
        """Go on without a worker that cannot start if another one can; it is raised otherwise."""
        self._failures.append(error)
        self._count -= 1
        if self._ready.is_set():
            log.warning("the run goes on without a worker on %s, which cannot start: %s", worker.place, error)

    async def _serve(self, worker: Worker) -> None:
        """Hand tasks to a worker and take its reports until it is closed. Raises WorkerLostError, WorkerFailedError."""
        await _watch(worker, worker.start(self._order))
        while True:
            for report in await _watch(worker, worker.fetch()):
                if isinstance(report, reports.Failed):
                    if self._workers[worker]:
                        raise WorkerLostError(report.message)
                    raise WorkerFailedError(report.message, report.exit_code)
                await self._taker.take(worker, report)
                if isinstance(report, reports.Ready):
                    self._workers[worker] = True
                    self._announce_ready()
                elif isinstance(report, reports.Spent):
                    self._check_limit()
                elif isinstance(report, reports.Closed):
                    return
            self._check_done()
            if self._is_running and not self._is_closing:
                self._assign(worker)

    def _announce_ready(self) -> None:
        if not self._ready.is_set():
            self._ready.set()
            for error in self._failures:
                log.warning("the run goes on without a worker that cannot start: %s", error)

    def _assign(self, worker: Worker) -> None:
        """Hand a worker as many tasks as it gets now."""
        if not self._workers[worker] or self._limit is not None:
            return
        while (attempt := self._hand_out.take(worker, self._count)) is not None:
            worker.assign(attempt.task, attempt.number, self._taker.begin(attempt))

    def _check_done(self) -> None:
        if self._is_running and self._hand_out.unfinished == 0:
            self._done.set()

    def _check_limit(self) -> None:
        """Begin no further task and end searches once the run's budget is spent."""
        if self._limit is None and (limit := self._job.find_stop()) is not None:
            self._limit = limit
            self._hand_out.drop_waiting()
            for worker in self._workers:
                worker.stop_searches(limit)

    async def _watch_limit(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self._check_limit()
            self._check_done()


async def _watch(worker: Worker, call: Coroutine[Any, Any, T]) -> T:
    """Return what a worker answers. Raises WorkerLostError if its machine is gone, also if the call never ends."""
    calling = asyncio.ensure_future(call)
    try:
        while not calling.done():
            await asyncio.wait({calling}, timeout=CHECK_SECONDS)
            if worker.is_gone():
                raise WorkerLostError("its node was removed")
        return calling.result()
    finally:
        calling.cancel()
