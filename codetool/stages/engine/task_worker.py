"""A worker: it searches the tasks that it is given, in a thread of its own, and keeps reports until they are fetched.

It knows nothing of how it is reached, and writes no file of the run. Whoever has started it fetches the reports.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from codetool.costs.component_clock import ComponentClock
from codetool.costs.usage import collect_usage
from codetool.errors import CodeToolError
from codetool.evaluation.score_task import TaskRecord
from codetool.execution.sandbox import SandboxConfig
from codetool.http.fault_counts import collect_faults
from codetool.policies.recorded import CandidateRecord
from codetool.runs.journal import encode_record
from codetool.stages.engine import reports
from codetool.stages.engine.fixed_servers import FixedServers
from codetool.stages.engine.reports import Report
from codetool.stages.evaluate.attempt import Attempt, Components, make_failure_record, solve
from codetool.stages.evaluate.components import SearchJob, open_components
from codetool.stages.evaluate.sandbox_events import record_sandbox_events
from codetool.stages.hub_models import download_models, find_hub_models
from codetool.stages.spent_journal import ClockReader
from codetool.tools.recordings import record_elsewhere
from codetool.types import Task

END_SECONDS = 20.0
"""Time within which a worker that is told to end closes its components."""
DRIVER_ONLY = "WANDB_"
"""Begin of the names of environment variables that a worker must not see: only the run itself logs to W&B."""

log = logging.getLogger("codetool")


@dataclass(frozen=True)
class WorkerOrder:
    """What a worker is started with; it can be pickled."""

    job: SearchJob
    servers: FixedServers
    workers_per_node: int
    """Number of workers that share a machine's memory."""
    folder: str
    """Working directory of the command, to which relative paths refer; ignored where it does not exist."""


class TaskWorker:
    """Searches tasks in a thread with an event loop. Its methods may be called from any thread."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._reports: list[Report] = []
        self._reported = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Queue[tuple[Task, int, Sequence[CandidateRecord]] | None] = asyncio.Queue()
        self._attempts: dict[str, int] = {}
        self._limit: str | None = None
        self._clock = ComponentClock()
        self._clock_reader = ClockReader(self._clock)
        self._thread: threading.Thread | None = None

    def start(self, order: WorkerOrder, environment: Mapping[str, str]) -> None:
        """Open the components in the worker's thread; `Ready` or `Failed` is reported.

        `environment` has the variables that the settings name, such as those of API keys; it is kept in memory only.
        """
        for name in [name for name in os.environ if name.startswith(DRIVER_ONLY)]:
            del os.environ[name]
        os.environ.update(environment)
        if Path(order.folder).is_dir():
            os.chdir(order.folder)
        self._thread = threading.Thread(target=self._run, args=(order,), name="codetool-worker", daemon=True)
        self._thread.start()

    def assign(self, task: Task, attempt: int, known: Sequence[CandidateRecord]) -> None:
        """Search a task; `attempt` marks its reports, and `known` are its recorded candidates."""
        self._call_in_loop(partial(self._waiting.put_nowait, (task, attempt, known)))

    def stop_searches(self, limit: str) -> None:
        """End searches with their best path so far, since a limit of the run's budget has been reached."""
        self._limit = limit

    def fetch(self, seconds: float) -> list[Report]:
        """Return the reports since the last call; without any, wait for the first for up to `seconds`."""
        with self._reported:
            self._reported.wait_for(lambda: self._reports, seconds)
            fetched, self._reports = self._reports, []
        return fetched

    def close(self) -> None:
        """Cancel searches and close the components, then report `Closed`."""
        self._call_in_loop(partial(self._waiting.put_nowait, None))

    def join(self) -> None:
        """Wait until the components are closed."""
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def report(self, report: Report) -> None:
        """Keep a report until it is fetched."""
        with self._reported:
            self._reports.append(report)
            self._reported.notify()

    def add_candidates(self, records: Sequence[CandidateRecord]) -> None:
        """Report all candidates of one draw. Raises TypeError or ValueError for values that JSON does not have."""
        if records:
            lines = b"".join(map(encode_record, records))
            self.report(reports.Candidates(self._attempts[records[0]["task_id"]], lines))

    def count_work(self, tokens: int) -> None:
        """Report the new tokens of candidates that a search was given."""
        self.report(reports.Work(tokens))

    def _call_in_loop(self, function: Any) -> None:
        if self._loop is None:
            function()  # before the loop runs: nothing waits for the queue yet
        else:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function)

    def _run(self, order: WorkerOrder) -> None:
        handler = _ReportingHandler(self)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            asyncio.run(self._work(order))
        except CodeToolError as error:
            self.report(reports.Failed(str(error), error.exit_code))
        except Exception as error:
            log.error("a worker broke", exc_info=error)
            self.report(reports.Failed(f"{type(error).__name__}: {error}", 1))
        finally:
            log.removeHandler(handler)

    async def _work(self, order: WorkerOrder) -> None:
        self._loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            stack.enter_context(collect_usage(lambda usage: self.report(reports.Spent(_copy_amounts(usage)))))
            stack.enter_context(collect_faults(lambda counts: self.report(reports.Faults(counts))))
            record = lambda file, line: self.report(reports.RecordedAnswer(str(file), line))  # noqa: E731
            stack.enter_context(record_elsewhere(record))
            download_models(find_hub_models(order.job.config))
            job = _share_machine(order.job, order.workers_per_node)
            async with open_components(job, order.servers, self, (), lambda: self._limit) as parts:
                self.report(reports.Ready(dict(parts.executor.in_force)))
                async with record_sandbox_events(parts.executor, self._report_sandbox):
                    await self._search_assigned(job, parts)
                answers = parts.broker.count_answers()
        self.report(reports.Closed(answers))

    async def _search_assigned(self, job: SearchJob, parts: Components) -> None:
        """Search tasks until the worker is told to close; what is under way then is cancelled."""
        running: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while (assigned := await self._waiting.get()) is not None:
                    search = group.create_task(self._search(job, parts, *assigned))
                    running.add(search)
                    search.add_done_callback(running.discard)
                for search in running:
                    search.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _search(
        self, job: SearchJob, parts: Components, task: Task, number: int, known: Sequence[CandidateRecord]
    ) -> None:
        self._attempts[task.id] = number
        parts.remember(known)
        attempt = Attempt(task, time.monotonic(), ComponentClock(run=self._clock))
        record = await solve(attempt, job.config, parts)
        try:
            lines = await asyncio.to_thread(_encode_lines, record)
        except Exception as error:  # a plug-in's value that JSON does not have
            lines = _encode_lines(make_failure_record(attempt, error, job.config, parts.rates))
        if amounts := self._clock_reader.read_new():
            self.report(reports.Spent(amounts))
        self.report(reports.Finished(number, *lines, json.loads(json.dumps(attempt.count_calls()))))

    def _report_sandbox(self, counts: Mapping[str, int]) -> None:
        self.report(reports.SandboxEvents(dict(counts)))


class _ReportingHandler(logging.Handler):
    """Reports the messages of CodeTool's log."""

    def __init__(self, worker: TaskWorker) -> None:
        super().__init__(logging.INFO)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.report(reports.LogMessage.from_record(record))


def _share_machine(job: SearchJob, workers: int) -> SearchJob:
    """Return the job with this worker's part of the machine's memory for its sandbox."""
    if not isinstance(job.config.executor, SandboxConfig):
        return job
    return replace(job, config=replace(job.config, executor=job.config.executor.share_machine(workers)))


def _encode_lines(record: TaskRecord) -> tuple[bytes, bytes | None]:
    return encode_record(record.result), None if record.tree is None else encode_record(record.tree)


def _copy_amounts(amounts: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: dict(values) for name, values in amounts.items()}
