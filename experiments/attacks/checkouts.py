"""The code under attack: this checkout or an older one, whose settings and modules have other names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
WEAKER = ROOT / "tests" / "execution" / "weaker.py"
"""Runs a command without user namespaces."""
OLD_SETTINGS = {
    "memory_mib": "memory", "max_output_chars": "output", "scratch_mib": "scratch", "max_live_processes": "max_live",
    "backoff": "pause",
}  # fmt: skip
"""Settings that were renamed, with their former names."""
SANDBOX = {
    "isolation": "required", "timeout": 5.0, "memory_mib": 256, "max_output_chars": 2000, "scratch_mib": 4,
    "max_live_processes": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What an attack did."""

    happened: str
    """One line with figures."""
    right: bool
    """Whether it is what should happen."""


@dataclass(frozen=True)
class Command:
    """A finished command line."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """Last line that it printed on standard error."""
        return (self.err.strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Target:
    """The checkout that is attacked, and a folder of the attack's own."""

    checkout: Path
    folder: Path

    @property
    def is_old(self) -> bool:
        """Whether the settings have their former names."""
        return not (self.checkout / "codetool" / "config").is_dir()

    def open_sandbox(self, **changes: Any) -> Any:
        """Return the context that opens a sandbox with these settings."""
        sandbox = import_module("codetool.execution.sandbox")
        if not self.is_old:
            return sandbox.SandboxConfig(**{**SANDBOX, "total_memory": 4096, **changes}).open()
        settings = {OLD_SETTINGS.get(name, name): value for name, value in {**SANDBOX, **changes}.items()}
        return sandbox.Sandbox(**settings).open()

    def compose(self, *words: str) -> Any:
        """Return the validated configuration of a command line."""
        words = (f"outputs={self.folder}", "logger=none", *words)
        if self.is_old:
            [composed] = import_module("codetool.stages.words").check(words)
            return import_module("codetool.config").validate(composed)
        from codetool.config.overrides import compose_all
        from codetool.config.run_config import validate

        return validate(compose_all(words)[0])

    def start(self, *words: str, prefix: Sequence[str] = (), outputs: Path | None = None) -> subprocess.Popen[str]:
        """Start `python run.py WORDS` in a session of its own."""
        flags = [word for word in words if word.startswith("-")]
        settings = [f"outputs={outputs or self.folder / 'outputs'}", *(word for word in words if word not in flags)]
        return subprocess.Popen(
            [*prefix, sys.executable, "run.py", *flags, *settings],
            cwd=self.checkout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "PYTHONPATH": str(self.checkout), "COLUMNS": "250"},
        )  # fmt: skip

    def run(
        self, *words: str, prefix: Sequence[str] = (), timeout: float = 100, outputs: Path | None = None
    ) -> Command:
        """Run `python run.py WORDS` to its end; the exit code of one that takes too long is -9."""
        process = self.start(*words, prefix=prefix, outputs=outputs)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
        return Command(process.returncode, out, err)


def read_memory(field: str = "VmHWM", pid: int | str = "self") -> float:
    """Return a field of a process's status in MiB: `VmRSS` for memory now, `VmHWM` for its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> float:
    """Let the peak of this process's memory begin anew, and return its memory now in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")
