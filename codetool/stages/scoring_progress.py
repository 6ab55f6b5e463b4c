"""Show the progress of scoring or judging: items done, and their parts per second."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console

from codetool.stages.progress import Display
from codetool.tracking.run_loggers import RunLoggers

LOG_SECONDS = 5.0
"""Seconds between two points that are logged."""


class ScoringProgress:
    """Counts scored items and shows the count while the context is open."""

    def __init__(
        self,
        total: int,
        done: int,
        console: Console,
        item_name: str,
        part_name: str,
        loggers: RunLoggers | None = None,
    ) -> None:
        """Prepare to count `total` items, of which `done` were scored before; an item has one or more parts.

        `item_name` and `part_name` are the plurals that are shown. `loggers` log the state every few seconds.
        """
        self._loggers = loggers
        self._item_name, self._part_name = item_name, part_name
        self.steps = 0
        """Parts scored since the start."""
        self.tokens = 0
        """Tokens read since the start."""
        self._done, self._total = done, total
        self._started = time.monotonic()
        self._display = Display(self._describe, total, console, done=done, show_time_left=True)

    def __enter__(self) -> Self:
        """Start drawing and the clock, since models are loaded by now."""
        self._started = self._logged_at = time.monotonic()
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._display.__exit__()
        self._log()

    def count(self, steps: int, tokens: int) -> None:
        """Count one item with its number of parts and of tokens."""
        self._done, self.steps, self.tokens = self._done + 1, self.steps + steps, self.tokens + tokens
        self._display.update(self._done)
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._log()

    def _log(self) -> None:
        """Log the items done and the rates since the start."""
        self._logged_at = time.monotonic()
        if self._loggers is not None:
            seconds = max(self._logged_at - self._started, 1e-9)
            rates = {f"{self._part_name}_per_second": self.steps / seconds, "tokens_per_second": self.tokens / seconds}
            asked = f"{self._item_name.replace(' ', '_')}/asked"
            self._loggers.log({asked: self._total, **rates}, self._done)

    def _describe(self) -> str:
        rate = self.steps / max(time.monotonic() - self._started, 1e-9)
        speed = (
            f"{rate:.1f} {self._part_name}/s" if rate >= 0.1 or not rate else f"{60 * rate:.1f} {self._part_name}/min"
        )
        return f"{self._done}/{self._total} {self._item_name} · {speed}"
