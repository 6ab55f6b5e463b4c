"""A disk that fails, or a folder that vanishes, at a chosen write of a stage that runs in this process."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codetool.runs import journal


class FailingDisk:
    """`os` for the module that writes all files of a run; one operation fails, before it or with half of it done."""

    def __init__(self, fails_at: int | None, error: int = errno.ENOSPC) -> None:
        self.fails_at, self.error = fails_at, error
        self.operations = 0

    def write(self, descriptor: int, data: bytes) -> int:
        if self._fails():
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(self.error, os.strerror(self.error))
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        if self._fails():
            raise OSError(self.error, os.strerror(self.error))
        os.fsync(descriptor)

    def _fails(self) -> bool:
        """Every operation from the failing one on; a full disk stays full."""
        self.operations += 1
        return self.fails_at is not None and self.operations >= self.fails_at

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


class DiskWithAnEvent(FailingDisk):
    """A disk that works, and an event just before one of its operations."""

    def __init__(self, happens_at: int, event: Callable[[], object]) -> None:
        super().__init__(happens_at)
        self.event = event

    def _fails(self) -> bool:
        self.operations += 1
        if self.operations == self.fails_at:
            self.event()
        return False


def run_on(disk: FailingDisk, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path], object], outputs: Path) -> None:
    """Run a stage that writes to `outputs`, on this disk."""
    with monkeypatch.context() as patched:
        patched.setattr(journal, "os", disk)
        run(outputs)
