"""Show the progress of scoring or judging: items done, and their parts per second."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console

from codetool.stages.progress import Display


class ScoringProgress:
    """Counts scored items and shows the count while the context is open."""

    def __init__(self, total: int, done: int, console: Console, item_name: str, part_name: str) -> None:
        """Prepare to count `total` items, of which `done` were scored before; an item has one or more parts.

        `item_name` and `part_name` are the plurals that are shown.
        """
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
        self._started = time.monotonic()
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._display.__exit__()

    def count(self, steps: int, tokens: int) -> None:
        """Count one item with its number of parts and of tokens."""
        self._done, self.steps, self.tokens = self._done + 1, self.steps + steps, self.tokens + tokens
        self._display.update(self._done)

    def _describe(self) -> str:
        rate = self.steps / max(time.monotonic() - self._started, 1e-9)
        return f"{self._done}/{self._total} {self._item_name} · {rate:.1f} {self._part_name}/s"
