"""Show progress on standard error: a bar on a terminal, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0
"""Seconds between two plain lines."""


class Display:
    """A progress bar, or plain lines, with a text that describes the current state."""

    def __init__(
        self,
        describe: Callable[[], str],
        total: int,
        console: Console,
        *,
        done: int = 0,
        show_time_left: bool = False,
        print_while_idle: bool = False,
    ) -> None:
        """Prepare the display; nothing is shown before the context is entered.

        `describe` returns the text beside the bar, `total` and `done` count the same units. `show_time_left` adds an
        estimate of the remaining time to the bar. Plain lines are printed by `update`, or with `print_while_idle` also
        while nothing is updated.
        """
        self._describe, self._console = describe, console
        self._print_while_idle = print_while_idle
        self._printed_at = time.monotonic()
        self._closed = threading.Event()
        columns = [SpinnerColumn(), BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn()]
        columns += [TextColumn("left:"), TimeRemainingColumn()] if show_time_left else []
        self._bar = Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)
        self._task = self._bar.add_task(describe(), total=total, completed=done)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._printed_at = time.monotonic()
        self._bar.start()
        if self._print_while_idle and not self._console.is_terminal:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state stays on the screen."""
        self._closed.set()
        self._bar.stop()

    def update(self, done: int, *, print_now: bool = False) -> None:
        """Show the current state; `print_now` prints a plain line even if the last one was printed recently."""
        self._bar.update(self._task, completed=done, description=self._describe())
        if self._console.is_terminal or self._print_while_idle:
            return
        if print_now or time.monotonic() - self._printed_at >= PLAIN_SECONDS:
            self._printed_at = time.monotonic()
            self._print_line()

    def _print_lines(self) -> None:
        while not self._closed.wait(PLAIN_SECONDS):
            self._print_line()

    def _print_line(self) -> None:
        self._console.print(self._describe(), soft_wrap=True, highlight=False, markup=False)


def format_duration(seconds: float) -> str:
    """Return seconds as h:mm:ss, or as m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
