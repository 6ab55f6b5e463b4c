"""engine=local: search all tasks in this process, `concurrency` of them at the same time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.costs.component_clock import ComponentClock
from codetool.errors import WriteError
from codetool.stages.engine.engine import EngineConfig, RunJob
from codetool.stages.evaluate.attempt import Attempt, Components, make_failure_record, solve
from codetool.stages.evaluate.components import list_weights, open_components
from codetool.tools.answer_counts import BrokerCounts
from codetool.types import Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LocalEngineConfig(EngineConfig):
    """Settings of the engine in this process; there are none, since `concurrency` belongs to every engine."""

    @asynccontextmanager
    async def open(self, job: RunJob) -> AsyncIterator[LocalEngine]:
        """Open the components in this process. Raises MissingError, UnreachableError or SandboxError."""
        config, recorder = job.search.config, job.recorder
        servers = config.vllm.open(await list_weights(config), recorder.folder.path)
        async with open_components(job.search, servers, recorder, job.known, job.find_stop) as parts:
            yield LocalEngine(job, parts)


class LocalEngine:
    """The engine in this process."""

    def __init__(self, job: RunJob, parts: Components) -> None:
        """Take the tasks and the open components."""
        self._job, self._parts = job, parts

    @property
    def in_force(self) -> Mapping[str, str]:
        """The layers of the sandbox, each with a short description."""
        return self._parts.executor.in_force

    @property
    def counts(self) -> Mapping[str, int]:
        """How often what has happened to the sandbox; empty for an executor that counts nothing."""
        return getattr(self._parts.executor, "counts", {})

    def count_answers(self) -> BrokerCounts:
        """Return what the broker has answered so far."""
        return self._parts.broker.count_answers()

    async def run(self) -> None:
        """Search and commit every task. Raises WriteError."""
        waiting = iter(self._job.tasks)
        workers = range(min(self._job.search.config.concurrency, len(self._job.tasks)))
        await gather_or_cancel(self._run_worker(waiting) for _ in workers)

    async def _run_worker(self, waiting: Iterator[Task]) -> None:
        """Run tasks until none is left or the run's budget is spent.

        An error of one task is recorded in its line and does not stop the others.
        """
        config, parts, recorder = self._job.search.config, self._parts, self._job.recorder
        while parts.find_stop() is None and (task := next(waiting, None)) is not None:
            recorder.count_started_task()
            attempt = Attempt(task, time.monotonic(), ComponentClock(run=recorder.spending.clock))
            record = await solve(attempt, config, parts)
            try:
                await recorder.commit(record, attempt.count_calls())
            except WriteError:
                raise  # no file can be written, so the run cannot go on
            except Exception as error:  # a plug-in's value that JSON does not have
                record = make_failure_record(attempt, error, config, parts.rates)
                await recorder.commit(record, attempt.count_calls())
