"""Progress of scoring on standard error: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0


class ScoringProgress:
    """Counts what has been scored and shows it while the context is open."""

    def __init__(self, groups: int, done: int, console: Console, things: str, parts: str) -> None:
        """So many `things`, of which some were scored before; each has one or more `parts`."""
        self._things, self._parts = things, parts
        self.steps = 0
        """Scored now."""
        self.tokens = 0
        """Read for them."""
        self._done, self._groups, self._console = done, groups, console
        self._started = self._told = time.monotonic()
        columns = (SpinnerColumn(), BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(
            *columns,
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(self._line(), total=groups, completed=done)

    def __enter__(self) -> Self:
        """Start drawing, and the clock: the model is loaded by now."""
        self._started = self._told = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last state on the screen."""
        self._bar.stop()

    def count(self, steps: int, tokens: int) -> None:
        """Count one thing with so many parts that took so many tokens."""
        self._done, self.steps, self.tokens = self._done + 1, self.steps + steps, self.tokens + tokens
        self._bar.update(self._task, completed=self._done, description=self._line())
        if not self._console.is_terminal and time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            self._console.print(self._line(), soft_wrap=True, highlight=False)

    def _line(self) -> str:
        rate = self.steps / max(time.monotonic() - self._started, 1e-9)
        return f"{self._done}/{self._groups} {self._things} · {rate:.1f} {self._parts}/s"
