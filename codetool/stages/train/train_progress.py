"""Progress of training on standard error: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from codetool.stages.evaluate.task_progress import PLAIN_SECONDS, clock

log = logging.getLogger(__name__)

SMOOTHING = 0.1
"""Share of the newest update in the loss that is shown, and in the speed."""


class TrainProgress:
    """Shows the updates while the context is open."""

    def __init__(self, updates: int, console: Console) -> None:
        """Show nothing yet; there will be so many updates, those of earlier runs included."""
        self._updates, self._console = updates, console
        self._done, self._loss = 0, 0.0
        self._pace = self._steps = 0.0
        """Seconds, and labelled steps, of an update."""
        self._validation = ""
        self._told = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(30),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("loading the model", total=updates)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()

    def updated(self, line: Mapping[str, float]) -> None:
        """Show the state after an update."""
        first = not self._done
        for name, key in (("_loss", "loss"), ("_pace", "seconds"), ("_steps", "examples")):
            old = getattr(self, name)
            setattr(self, name, line[key] if first else old + SMOOTHING * (line[key] - old))
        self._done = int(line["step"])
        self._bar.update(self._task, completed=self._done, description=self._line())
        due = first or time.monotonic() - self._told >= PLAIN_SECONDS or self._done == self._updates
        if not self._console.is_terminal and due:
            self._told = time.monotonic()
            self._print(self._line())

    def validated(self, line: Mapping[str, float]) -> None:
        """Print what a validation has found."""
        found = " · ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "step")
        log.info("update %d: %s", line["step"], found)

    def stopping(self) -> None:
        """Say that the signal was heard."""
        log.info("Stopping after this update, whose state is kept; Ctrl-C again stops at once.")

    def _line(self) -> str:
        pace = max(self._pace, 1e-9)
        parts = [f"{self._done}/{self._updates} updates", f"loss {self._loss:.4f}"]
        parts += [f"{1 / pace:.2f} updates/s", f"{self._steps / pace:.1f} labelled steps/s"]
        left = (self._updates - self._done) * self._pace
        return " · ".join([*parts, f"{clock(left)} left"] if left else parts)

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)
