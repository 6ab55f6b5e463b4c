"""Read and write `spent.jsonl`: what all commands of a folder have really spent, one line per report.

A line holds amounts by component: `{"policy": {"requests": 1, "tokens_in": 812, "tokens_out": 96}}`, and after each
task the seconds since the line before, `{"policy": {"wall_seconds": 1.5, "busy_seconds": 2.5}, "run": {"seconds": 3}}`.
Each is appended when it happens, so what a killed or failed attempt has spent is kept; `results.jsonl` counts what
the attempts cost whose results are there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from codetool.costs.component_clock import ComponentClock
from codetool.costs.usage import Usage, collect_usage
from codetool.errors import WriteError
from codetool.ledger import ComponentSeconds
from codetool.runs import journal
from codetool.runs.merged_sessions import PART_KEY

SPENT_FILE = "spent.jsonl"

Amounts = Mapping[str, Mapping[str, float]]
"""Amounts by component and name."""


class ClockReader:
    """Reads how long each component was at work since it was last read."""

    def __init__(self, clock: ComponentClock) -> None:
        """Take the clock; what it has measured so far counts as not read."""
        self._clock = clock
        self._measured: dict[str, ComponentSeconds] = {}

    def read_new(self) -> dict[str, dict[str, float]]:
        """Return the wall and busy seconds of each component since the last call."""
        amounts: dict[str, dict[str, float]] = {}
        measured = self._clock.read()
        for name, seconds in measured.items():
            before = self._measured.get(name, ComponentSeconds())
            amounts[name] = {"wall_seconds": seconds.wall - before.wall, "busy_seconds": seconds.busy - before.busy}
        self._measured = measured
        return amounts


class Spending:
    """What the commands of a folder have spent so far, this one included."""

    def __init__(self, folder: Path) -> None:
        """Read what earlier commands have spent. The file is created with the first report."""
        self.clock = ComponentClock()
        """Measures the components over all tasks of this command."""
        self.total = read_spent(folder)
        self._path, self._stack, self._lock = folder / SPENT_FILE, ExitStack(), Lock()
        self._journal: journal.Journal | None = None
        self._unwritten: dict[str, Counter[str]] = {}
        self._clock_reader = ClockReader(self.clock)
        self._measured_at: float | None = None

    def add(self, amounts: Amounts) -> None:
        """Add amounts and append them; what the disk does not take is appended with the next ones."""
        with self._lock, suppress(WriteError):
            for target in (self.total, self._unwritten):
                _add_amounts(target, amounts)
            self._write()

    def count_tokens(self, component: str) -> tuple[int, int]:
        """Return the prompt tokens and the new tokens of a component over all commands."""
        amounts = self.total.get(component, Counter[str]())
        return int(amounts["tokens_in"]), int(amounts["tokens_out"])

    def count_seconds(self) -> float:
        """Return the wall seconds in which tasks were run, over all commands and up to now."""
        running = 0.0 if self._measured_at is None else time.monotonic() - self._measured_at
        return self.total.get("run", Counter[str]())["seconds"] + running

    def start_clock(self) -> None:
        """Begin to count the seconds of the command's tasks."""
        self._measured_at = time.monotonic()

    def add_seconds(self) -> None:
        """Add the seconds since the last call, of the run and of each component."""
        if self._measured_at is None:
            return
        now = time.monotonic()
        amounts = {"run": {"seconds": now - self._measured_at}} | self._clock_reader.read_new()
        self._measured_at = now
        self.add(amounts)

    def close(self) -> None:
        """Append what is left, and close the file. Raises WriteError if that cannot be written."""
        self.add_seconds()
        with self._lock, self._stack:
            self._write()

    def _write(self) -> None:
        if not self._unwritten:
            return
        if self._journal is None:
            self._journal = self._stack.enter_context(journal.Journal(self._path))
        self._journal.append({name: _round_amounts(amounts) for name, amounts in self._unwritten.items()})
        self._unwritten = {}


@contextmanager
def record_spending(folder: Path) -> Iterator[Spending]:
    """Append to the folder's file what is spent while the context is open, and yield the running total."""
    spending = Spending(folder)
    try:
        with collect_usage(lambda usage: spending.add(_to_amounts(usage))):
            yield spending
    except BaseException:
        with suppress(WriteError):  # the error that ends the command says more
            spending.close()
        raise
    spending.close()


def read_spent(folder: Path) -> dict[str, Counter[str]]:
    """Return the sum over all commands of a folder, by component and name; empty for a folder without the file."""
    total: dict[str, Counter[str]] = {}
    for line in journal.read_records(folder / SPENT_FILE):
        line.pop(PART_KEY, None)
        _add_amounts(total, line)
    return total


def _to_amounts(usage: Usage) -> Amounts:
    return {name: dict(amounts) for name, amounts in usage.items()}


def _add_amounts(total: dict[str, Counter[str]], amounts: Mapping[str, Any]) -> None:
    for component, values in amounts.items():
        total.setdefault(component, Counter()).update(values)


def _round_amounts(amounts: Mapping[str, float]) -> dict[str, float]:
    """Return the amounts with seconds in milliseconds, which keeps lines short."""
    return {name: round(amount, 3) for name, amount in amounts.items() if amount}
