"""Write what searches report to the files of a run folder, count it, and show it in the run's progress."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.evaluation.score_task import TaskRecord
from codetool.policies.recorded import CandidateRecord
from codetool.stages.evaluate.task_progress import TaskProgress
from codetool.stages.run_folder import RunFolder
from codetool.stages.spent_journal import Spending


@dataclass(frozen=True)
class RunRecorder:
    """The one writer of a run's folder, whichever engine searches the tasks."""

    folder: RunFolder
    progress: TaskProgress
    spending: Spending

    def add_candidates(self, records: Sequence[CandidateRecord]) -> None:
        """Append all candidates of one draw and count them. Raises WriteError."""
        self.folder.candidates.append_all(records)
        for record in records:
            self.progress.count_candidate(record["tokens_out"])

    def count_work(self, tokens: int) -> None:
        """Count the new tokens of candidates that a search was given, drawn now or recorded."""
        self.progress.count_work(tokens)

    def count_started_task(self) -> None:
        """Count a task whose search begins."""
        self.progress.count_started_task()

    async def commit(self, record: TaskRecord, calls: Mapping[str, Any]) -> None:
        """Record a finished task durably and count it; `calls` are the counts of its tool calls.

        Raises WriteError, and TypeError or ValueError with nothing written for values that JSON does not have.
        """
        await asyncio.to_thread(self.folder.commit, record.result, record.tree, calls)
        self.spending.add_seconds()
        self.progress.count_result(record.result)
