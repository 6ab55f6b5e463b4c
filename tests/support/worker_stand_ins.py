"""Workers without Ray: one that finishes tasks at once as a test says, and the real one in a thread of this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from codetool.evaluation.score_task import TaskRecord
from codetool.stages.engine import reports
from codetool.stages.engine.engine import EngineConfig, RunJob
from codetool.stages.engine.fixed_servers import FixedServers
from codetool.stages.engine.reports import Report
from codetool.stages.engine.task_worker import TaskWorker, WorkerOrder
from codetool.stages.engine.worker_pool import WorkerLostError, WorkerPool, open_pool
from codetool.tools.answer_counts import BrokerCounts
from codetool.types import Task


@dataclass
class Commits:
    """Stands in for the recorder of a run: it keeps what was committed."""

    records: list[TaskRecord] = field(default_factory=list)
    candidates: list[Mapping[str, Any]] = field(default_factory=list)
    spent: list[Any] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        self.spending = self

    @property
    def ids(self) -> list[str]:
        return [str(record.result["task_id"]) for record in self.records]

    def add(self, amounts: Any) -> None:
        self.spent.append(amounts)

    def add_candidates(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.candidates += records

    def count_work(self, tokens: int) -> None: ...

    def count_started_task(self) -> None:
        self.started += 1

    async def commit(self, record: TaskRecord, calls: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.records.append(record)


class FakeWorker:
    """A worker that answers at once with a result that names the task, after one candidate."""

    def __init__(self, number: int) -> None:
        self.number, self.place = number, f"node {number}"
        self.assigned: list[tuple[str, int, Sequence[Mapping[str, Any]]]] = []
        self.reports: list[Report] = []
        self.loses: Callable[[FakeWorker], bool] = lambda worker: False
        """Whether the worker ends instead of answering a fetch."""
        self.removed = self.killed = False
        self.limit: str | None = None
        self.most_at_once = 0
        self.starts: Report = reports.Ready({"seccomp": "on"})

    def is_gone(self) -> bool:
        return self.removed

    async def start(self, order: WorkerOrder) -> None:
        self.reports.append(self.starts)

    async def fetch(self) -> list[Report]:
        await asyncio.sleep(0.001)
        self.most_at_once = max(self.most_at_once, sum(isinstance(each, reports.Finished) for each in self.reports))
        if self.killed or self.loses(self):
            raise WorkerLostError("the worker died")
        fetched, self.reports = self.reports, []
        return fetched

    def assign(self, task: Task, attempt: int, known: Sequence[Mapping[str, Any]]) -> None:
        self.assigned.append((task.id, attempt, known))
        if not known:
            line = json.dumps({"task_id": task.id, "index": 0}).encode() + b"\n"
            self.reports.append(reports.Candidates(attempt, line))
        result = json.dumps({"task_id": task.id, "by": self.number}).encode()
        self.reports.append(reports.Finished(attempt, result, None, {}))

    def stop_searches(self, limit: str) -> None:
        self.limit = limit

    def close(self) -> None:
        self.reports.append(reports.Closed(BrokerCounts(recorded=3)))

    def kill(self) -> None:
        self.killed = True


class ThreadWorker:
    """The real worker in a thread of this process. Its log is not passed on, since both sides have the same logger."""

    place = "this process"

    def __init__(self, dies_after: float = float("inf")) -> None:
        """It is lost with the first fetch that would bring the `dies_after`-th draw of candidates."""
        self._worker, self._left = TaskWorker(), dies_after

    def is_gone(self) -> bool:
        return False

    async def start(self, order: WorkerOrder) -> None:
        self._worker.start(order, {})

    async def fetch(self) -> list[Report]:
        fetched = await asyncio.to_thread(self._worker.fetch, 0.05)
        self._left -= sum(isinstance(report, reports.Candidates) for report in fetched)
        if self._left <= 0:
            raise WorkerLostError("the worker died")
        return [report for report in fetched if not isinstance(report, reports.LogMessage)]

    def assign(self, task: Task, attempt: int, known: Sequence[Mapping[str, Any]]) -> None:
        self._worker.assign(task, attempt, known)

    def stop_searches(self, limit: str) -> None:
        self._worker.stop_searches(limit)

    def close(self) -> None:
        self._worker.close()

    def kill(self) -> None:
        self._worker.close()


@dataclass(frozen=True)
class ThreadEngineConfig(EngineConfig):
    """An engine whose workers are threads of this process; the first may be lost in the middle."""

    workers: int = 2
    tasks_per_worker: int = 2
    first_dies_after: float = float("inf")

    @asynccontextmanager
    async def open(self, job: RunJob) -> AsyncIterator[WorkerPool]:
        created = list[ThreadWorker]()

        def create() -> ThreadWorker:
            created.append(ThreadWorker(*([] if created else [self.first_dies_after])))
            return created[-1]

        order = WorkerOrder(job.search, FixedServers({}), 1, "/nowhere")
        async with open_pool(job, order, create, self.workers, self.tasks_per_worker) as pool:
            yield pool
        for worker in created:
            await asyncio.to_thread(worker._worker.join)
