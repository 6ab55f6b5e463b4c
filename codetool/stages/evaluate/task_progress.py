"""Live progress on standard error: a bar on a terminal, elsewhere a plain line every ten seconds, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from codetool.evaluation.error_taxonomy import is_internal
from codetool.types import Task

PLAIN_SECONDS = 10.0


@dataclass
class Tally:
    """What has happened so far: tasks done, how they came out, tokens written. `already` were done before this run.

    `work` counts the new tokens of all candidates that searches were given, those of an earlier run among them; `begun`
    the tasks that this run has started.
    """

    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    already: int = 0
    solved: int = 0
    checked: int = 0
    failed: int = 0
    tokens: int = 0
    tokens_of_done: int = 0
    candidates: int = 0
    work: int = 0
    begun: int = 0

    @classmethod
    def of(cls, done: Mapping[str, Mapping[str, Any]], tasks: Sequence[Task]) -> Self:
        """The state before a run over `tasks`, of which some are done."""
        tally = cls(total=len(tasks))
        for task in tasks:
            if task.id in done:
                tally.count(done[task.id])
        tally.already, tally.tokens_of_done = tally.done, 0
        return tally

    def count(self, result: Mapping[str, Any]) -> None:
        """Count one result line."""
        self.done += 1
        self.tokens_of_done += result["ledger"]["tokens_out"]
        self.failed += is_internal(result)
        self.checked += result["success"] is not None
        self.solved += result["success"] is True

    def line(self) -> str:
        """Tasks done, success so far, candidates and tokens per second, and the time left."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        left = self._left(seconds)
        parts = [f"{self.done}/{self.total} tasks"]
        parts += [f"success {self.solved}/{self.checked}"] if self.checked else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.candidates} candidates", f"{self.tokens / seconds:.0f} tokens/s"]
        parts += [f"{clock(left)} left"] if left is not None and self.done < self.total else []
        return " · ".join(parts)

    def _left(self, seconds: float) -> float | None:
        """Seconds left, by the work of the tasks done now and of those in flight; None where that says too little.

        The first of many tasks in flight to end are the short ones, so nothing is said before as many are done as are
        in flight. Of a task in flight at least half the mean work is expected to be left.
        """
        now = self.done - self.already
        work = max(self.work, self.tokens)
        in_flight = max(0, self.begun - now)
        if not now or not work or in_flight > now:
            return None
        mean = self.tokens_of_done / now
        expected = (self.total - self.already) * mean - work
        if in_flight:
            waiting = self.total - self.done - in_flight
            expected = max(expected, waiting * mean + in_flight * mean / 2)
        return expected * seconds / work if expected > 0 else None


class Display:
    """Counts what happens and shows the tally while the context is open."""

    def __init__(self, tally: Tally, console: Console) -> None:
        """Show nothing yet."""
        self._tally, self._console = tally, console
        columns = (SpinnerColumn(), BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)
        self._task = self._bar.add_task(tally.line(), total=tally.total, completed=tally.done)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Start drawing, and the clock: models are loaded by now."""
        self._tally.started = time.monotonic()
        self._bar.start()
        if not self._console.is_terminal:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._over.set()
        self._bar.stop()

    def count(self, result: Mapping[str, Any]) -> None:
        """Count one result line."""
        self._tally.count(result)
        self._update()

    def begin(self) -> None:
        """Count a task that has been started."""
        self._tally.begun += 1

    def work(self, tokens: int) -> None:
        """Count the new tokens of candidates that a search was given, drawn now or recorded."""
        self._tally.work += tokens

    def draw(self, tokens: int) -> None:
        """Count a candidate of so many tokens."""
        self._tally.candidates += 1
        self._tally.tokens += tokens
        self._update()

    def _update(self) -> None:
        self._bar.update(self._task, completed=self._tally.done, description=self._tally.line())

    def _print_lines(self) -> None:
        while not self._over.wait(PLAIN_SECONDS):
            self._console.print(self._tally.line(), soft_wrap=True, highlight=False)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
