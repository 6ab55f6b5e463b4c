"""A command that runs in a process group of its own, with the clients of a served stage."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from commands import Command
from world import ROOT, World

TIMEOUT = 180.0
"""Seconds that a command may take before it counts as hanging."""
SHARED_MEMORY = Path("/dev/shm")


class Running:
    """A started command."""

    def __init__(self, command: Command, world: World, outputs: Path) -> None:
        """Start it in a process group of its own, with its output in files beside the outputs."""
        self.command, self.outputs = command, outputs
        self.answers: dict[int, Any] = {}
        self._files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115
        self._temporary = outputs.parent / f"{outputs.name} temporary"
        self._temporary.mkdir(exist_ok=True)
        words = [f"outputs={outputs}", *command.words(world, outputs)]
        self.started = time.monotonic()
        self.popen = subprocess.Popen(
            [sys.executable, "run.py", *_put_flags_first(words)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._files[0], stderr=self._files[1], start_new_session=True,
            env={**os.environ, "TMPDIR": str(self._temporary)},
        )  # fmt: skip
        self._client = threading.Thread(target=self._ask, daemon=True) if command.ask else None
        if self._client:
            self._client.start()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the command has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(seconds)

    def wait_for_writes(self, count: int, further: float, timeout: float) -> None:
        """Wait until the files of the outputs have changed so often, and a moment longer."""
        before = None
        deadline = time.monotonic() + timeout
        while count and self.popen.poll() is None and time.monotonic() < deadline:
            sizes = _measure_files(self.outputs)
            count -= sizes != before
            before = sizes
            time.sleep(0.001)
        time.sleep(further)

    def finish(self) -> int:
        """Wait for the end of the command, end a server once all was asked, and return the exit code."""
        if self._client:
            self._client.join(TIMEOUT)
            if self.popen.poll() is None:
                self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
        return self.collect()

    def collect(self) -> int:
        """Wait for the killed command's own process and return its exit code."""
        code = self.popen.wait()
        if self._client:
            self._client.join(TIMEOUT)
        return code

    def error_text(self) -> str:
        """Return what the command wrote to standard error."""
        size = os.fstat(self._files[1].fileno()).st_size
        return os.pread(self._files[1].fileno(), size, 0).decode(errors="replace")

    def list_leftovers(self) -> list[str]:
        """Return the names of what the command has in the system's folders for temporary files and shared memory."""
        mark = re.compile(rf"\D{self.popen.pid}\D")
        shared = [file.name for file in SHARED_MEMORY.iterdir() if mark.search(file.name)]
        return [*(file.name for file in self._temporary.iterdir()), *shared]

    def _ask(self) -> None:
        """Send the requests of the command's clients once its server has printed its address."""
        assert self.command.ask is not None
        while self.popen.poll() is None:
            text = os.pread(self._files[0].fileno(), 4096, 0).decode(errors="replace")
            if "http://" in text and "\n" in text:
                self.command.ask(text.split()[0], self.answers)
                return
            time.sleep(0.02)


def _put_flags_first(words: Sequence[str]) -> list[str]:
    return sorted(words, key=lambda word: not word.startswith("-"))


def _measure_files(folder: Path) -> dict[str, int]:
    sizes = {}
    for file in folder.rglob("*"):
        with suppress(OSError):
            sizes[str(file)] = file.stat().st_size
    return sizes
