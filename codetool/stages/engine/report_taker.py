"""Take the reports of workers: write them to the run's folder, count them, and drop those of lost attempts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from codetool.errors import SandboxError, WriteError
from codetool.evaluation.score_task import TaskRecord, record_failure
from codetool.http.fault_counts import FaultCounts, report_all
from codetool.ledger import Ledger
from codetool.policies.recorded import CandidateRecord
from codetool.runs.journal import append_line
from codetool.stages.engine import reports
from codetool.stages.engine.engine import RunJob
from codetool.stages.engine.hand_out import SHARED_LOSSES, Attempt, HandOut
from codetool.stages.engine.reports import Report
from codetool.stages.run_log import TASK_LOG
from codetool.tools.answer_counts import BrokerCounts
from codetool.types import Task

MISSING_LAYER = "NO"
"""Begin of the description of a sandbox layer that is missing."""

log = logging.getLogger(__name__)
task_log = logging.getLogger(TASK_LOG)


class ReportTaker:
    """What all workers of a run have reported."""

    def __init__(self, job: RunJob, hand_out: HandOut) -> None:
        """Take the run's recorder and the hand-out, which tells of each attempt whether it counts."""
        self._job, self._recorder, self._hand_out = job, job.recorder, hand_out
        self._known: defaultdict[str, list[CandidateRecord]] = defaultdict(list)
        """Recorded candidates of unfinished tasks, by task id."""
        for record in job.known:
            self._known[record["task_id"]].append(record)
        self._begun = set[str]()
        self._sandbox_events: dict[Hashable, Mapping[str, int]] = {}
        self._first_to_say: dict[tuple[int, str], Hashable] = {}
        self._is_recording_failing = False
        self.in_force: dict[str, str] = {}
        """The layers of the workers' sandboxes; one that a worker lacks is missing."""
        self.answers = BrokerCounts()
        """What the brokers of closed workers have answered."""

    def begin(self, attempt: Attempt) -> Sequence[CandidateRecord]:
        """Count a task whose search begins; return its recorded candidates, also those of a lost attempt."""
        if attempt.task.id not in self._begun:
            self._begun.add(attempt.task.id)
            self._recorder.count_started_task()
        return tuple(self._known[attempt.task.id])

    def count_sandbox_events(self) -> dict[str, int]:
        """Return how often what has happened to the sandboxes of all workers, also of lost ones."""
        return dict(sorted(sum(map(Counter, self._sandbox_events.values()), Counter[str]()).items()))

    async def take(self, worker: Hashable, report: Report) -> None:
        """Record a report of a worker. Raises WriteError if the run's files cannot be written."""
        match report:
            case reports.Candidates():
                self._take_candidates(worker, report)
            case reports.Finished():
                await self._take_result(worker, report)
            case reports.Work(tokens):
                self._recorder.count_work(tokens)
            case reports.Spent(amounts):
                self._recorder.spending.add(amounts)
            case reports.Faults(encoded):
                counts = FaultCounts()
                counts.add(encoded)
                report_all(counts)
            case reports.SandboxEvents(events):
                self._sandbox_events[worker] = events
            case reports.RecordedAnswer(file, line):
                await self._record_answer(Path(file), line)
            case reports.LogMessage():
                self._log(worker, report)
            case reports.Ready(in_force):
                self._take_layers(in_force)
            case reports.Closed(answers):
                self.answers += answers

    async def take_back(self, worker: Hashable) -> None:
        """Hand out again what a lost worker had; record the failure of a task that has ended workers on its own."""
        for task in self._hand_out.lose(worker):
            await self._give_up(task)

    def _take_candidates(self, worker: Hashable, report: reports.Candidates) -> None:
        if (attempt := self._hand_out.get(worker, report.attempt)) is not None:
            records = [json.loads(line) for line in report.lines.split(b"\n") if line]
            self._recorder.add_candidates(records)
            self._known[attempt.task.id] += records

    async def _take_result(self, worker: Hashable, report: reports.Finished) -> None:
        if (attempt := self._hand_out.finish(worker, report.attempt)) is not None:
            tree = None if report.tree is None else json.loads(report.tree)
            self._known.pop(attempt.task.id, None)
            await self._recorder.commit(TaskRecord(json.loads(report.result), tree), report.calls)

    async def _give_up(self, task: Task) -> None:
        error = SandboxError(
            f"its worker ended {SHARED_LOSSES + 1} times while it was searched, the last time with no other task. The "
            "memory of the node may be too small (executor.total_memory, engine.tasks_per_worker); the same command "
            "tries the task again"
        )
        task_log.warning("%s: %s", task.id, error)
        config = self._job.search.config
        await self._recorder.commit(record_failure(task, error, Ledger(), config.benchmark, 0.0), {})

    async def _record_answer(self, file: Path, line: str) -> None:
        try:
            await asyncio.to_thread(append_line, file, line)
        except (OSError, WriteError) as error:
            if not self._is_recording_failing:
                log.warning("tools.record_to: answers are not recorded until that is mended: %s", error)
            self._is_recording_failing = True
        else:
            self._is_recording_failing = False

    def _log(self, worker: Hashable, message: reports.LogMessage) -> None:
        """Log a message, unless another worker has said the same: all of them start alike."""
        key = message.level, message.text
        if message.logger == TASK_LOG or self._first_to_say.setdefault(key, worker) == worker:
            logging.getLogger(message.logger).handle(message.to_record())

    def _take_layers(self, in_force: Mapping[str, str]) -> None:
        for layer, description in in_force.items():
            if layer not in self.in_force or description.startswith(MISSING_LAYER):
                self.in_force[layer] = description
