"""What an attack on the memory of this process is measured by: `VmRSS` before it and `VmHWM` after it, from /proc."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

MIB = 2**20


def read_memory(field: str) -> float:
    """A field of this process's status in MiB: `VmRSS` or `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


class Meter:
    """Memory before the attack; `start` is called when everything is open."""

    def __init__(self) -> None:
        self.before = 0.0
        self.outcome = ""

    def start(self) -> None:
        """Begin the measurement."""
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.before = read_memory("VmRSS")


Attack = Callable[[Meter, int], Coroutine[Any, Any, None]]
"""An attack by that number of tasks at the same time; it calls `start` and writes its outcome to the meter."""


def describe_outcomes(outcomes: list[Any]) -> str:
    """Return how many requests were answered, and why the first other one failed."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    reason = f": {type(failures[0]).__name__} …{str(failures[0])[-90:]}" if failures else ""
    return f"{len(outcomes) - len(failures)} answered, {len(failures)} failed{reason}"
