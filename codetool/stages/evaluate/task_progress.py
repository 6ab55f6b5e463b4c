"""Show the progress of a run over tasks: tasks done, their success, tokens per second, and the time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console

from codetool.evaluation.error_taxonomy import is_internal
from codetool.stages.progress import Display, format_duration
from codetool.types import Task


@dataclass
class TaskCounts:
    """Counts of a run's tasks, candidates and tokens so far."""

    total: int
    """Tasks asked for."""
    done: int = 0
    """Finished tasks, including `already`."""
    started: float = field(default_factory=time.monotonic)
    already: int = 0
    """Tasks that were done before this run."""
    solved: int = 0
    checked: int = 0
    failed: int = 0
    tokens: int = 0
    """New tokens of the candidates drawn by this run."""
    tokens_of_done: int = 0
    """New tokens of the tasks that this run has finished."""
    candidates: int = 0
    work: int = 0
    """New tokens of all candidates given to searches, including recorded ones."""
    begun: int = 0
    """Tasks started by this run."""
    ledger: Counter[str] = field(default_factory=Counter)
    """Cost of the finished tasks, summed by the names of a `Ledger`; without amounts that are unknown."""
    errors: Counter[str] = field(default_factory=Counter)
    """Unsolved and failed tasks by kind of error."""

    @classmethod
    def from_results(cls, done: Mapping[str, Mapping[str, Any]], tasks: Sequence[Task]) -> Self:
        """Return the counts before a run over `tasks`; `done` holds the result lines of finished tasks by id."""
        counts = cls(total=len(tasks))
        for task in tasks:
            if task.id in done:
                counts.count(done[task.id])
        counts.already, counts.tokens_of_done = counts.done, 0
        return counts

    def count(self, result: Mapping[str, Any]) -> None:
        """Count one result line."""
        self.done += 1
        self.tokens_of_done += result["ledger"]["tokens_out"]
        self.failed += is_internal(result)
        self.checked += result["success"] is not None
        self.solved += result["success"] is True
        self.ledger.update({name: amount for name, amount in result["ledger"].items() if amount is not None})
        if result["error"]:
            self.errors[result["error"]["kind"]] += 1

    def describe(self) -> str:
        """Return one line: tasks done, success so far, candidates, tokens per second, and the time left."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        left = self._estimate_time_left(seconds)
        parts = [f"{self.done}/{self.total} tasks"]
        parts += [f"success {self.solved}/{self.checked}"] if self.checked else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.candidates} candidates", f"{self.tokens / seconds:.0f} tokens/s"]
        parts += [f"{format_duration(left)} left"] if left is not None and self.done < self.total else []
        return " · ".join(parts)

    def _estimate_time_left(self, seconds: float) -> float | None:
        """Return the seconds left, estimated from the tokens of finished tasks and of tasks in flight.

        None before as many tasks are done as are in flight, since short tasks end first. Each task in flight is
        expected to have at least half of the mean work left.
        """
        done_now = self.done - self.already
        work = max(self.work, self.tokens)
        in_flight = max(0, self.begun - done_now)
        if not done_now or not work or in_flight > done_now:
            return None
        mean = self.tokens_of_done / done_now
        expected = (self.total - self.already) * mean - work
        if in_flight:
            waiting = self.total - self.done - in_flight
            expected = max(expected, waiting * mean + in_flight * mean / 2)
        return expected * seconds / work if expected > 0 else None


class TaskProgress:
    """Counts events of a run and shows the counts while the context is open."""

    def __init__(self, counts: TaskCounts, console: Console) -> None:
        """Prepare the display; nothing is shown yet."""
        self._counts = counts
        self._display = Display(counts.describe, counts.total, console, done=counts.done, print_while_idle=True)

    def __enter__(self) -> Self:
        """Start drawing and the clock, since models are loaded by now."""
        self._counts.started = time.monotonic()
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._display.__exit__()

    def count_result(self, result: Mapping[str, Any]) -> None:
        """Count one result line."""
        self._counts.count(result)
        self._display.update(self._counts.done)

    def count_started_task(self) -> None:
        """Count a task that has been started."""
        self._counts.begun += 1

    def count_work(self, tokens: int) -> None:
        """Count the new tokens of candidates that a search was given, drawn now or recorded."""
        self._counts.work += tokens

    def count_candidate(self, tokens: int) -> None:
        """Count a candidate drawn now and its new tokens."""
        self._counts.candidates += 1
        self._counts.tokens += tokens
        self._display.update(self._counts.done)
