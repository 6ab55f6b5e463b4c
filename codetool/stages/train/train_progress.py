"""Show the progress of a training: updates, loss, speed, and the time left."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Self

from rich.console import Console

from codetool.stages.progress import Display, format_duration

log = logging.getLogger(__name__)

SMOOTHING = 0.1
"""Weight of the newest update in the displayed averages of loss and speed."""


class TrainProgress:
    """Shows a training's updates while the context is open."""

    def __init__(self, updates: int, console: Console) -> None:
        """Prepare the display of so many updates, including those of earlier runs; nothing is shown yet."""
        self._updates = updates
        self._done, self._loss = 0, 0.0
        self._seconds = self._examples = 0.0
        """Smoothed seconds and labelled steps per update."""
        self._display = Display(self._describe, updates, console)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._display.__exit__()

    def updated(self, line: Mapping[str, float]) -> None:
        """Show the state after an update; `line` is the update's line in `losses.jsonl`."""
        first = not self._done
        self._loss = self._smooth(self._loss, line["loss"], first)
        self._seconds = self._smooth(self._seconds, line["seconds"], first)
        self._examples = self._smooth(self._examples, line["examples"], first)
        self._done = int(line["step"])
        self._display.update(self._done, print_now=first or self._done == self._updates)

    def validated(self, line: Mapping[str, float]) -> None:
        """Log the metrics of a validation; `line` is its line in `validations.jsonl`."""
        metrics = " · ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "step")
        log.info("update %d: %s", line["step"], metrics)

    def stopping(self) -> None:
        """Log that a signal to stop was received."""
        log.info("Stopping after this update, whose state is kept; Ctrl-C again stops at once.")

    @staticmethod
    def _smooth(old: float, new: float, first: bool) -> float:
        """Return the exponential moving average."""
        return new if first else old + SMOOTHING * (new - old)

    def _describe(self) -> str:
        if not self._done:
            return "loading the model"
        seconds = max(self._seconds, 1e-9)
        parts = [f"{self._done}/{self._updates} updates", f"loss {self._loss:.4f}"]
        parts += [f"{1 / seconds:.2f} updates/s", f"{self._examples / seconds:.1f} labelled steps/s"]
        left = (self._updates - self._done) * self._seconds
        return " · ".join([*parts, f"{format_duration(left)} left"] if left else parts)
