"""The role of each process below a command: what it is that a kill hits."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROLES = {
    "resource_tracker": "resource tracker",
    "worker_reaper": "worker reaper",
    "popen_loky_posix": "worker",
    "inside.pid1": "sandbox launcher",
    "run.py": "forked command",
    "git": "git",
}
"""Roles outside a sandbox's namespace, by a part of the command line."""
SANDBOX_ROLES = {"1": "sandbox pid 1", "2": "zygote"}
"""Roles inside a sandbox's namespace, by the process id in it; all others are branches."""


def group_by_role(processes: Iterable[int]) -> dict[str, list[int]]:
    """Return the processes that still run by their roles."""
    roles: dict[str, list[int]] = {}
    for process in processes:
        with suppress(OSError, IndexError, StopIteration):
            roles.setdefault(_read_role(Path(f"/proc/{process}")), []).append(process)
    return roles


def _read_role(folder: Path) -> str:
    """Return the role. Raises OSError or StopIteration for a process that has ended."""
    status = (folder / "status").read_text().splitlines()
    ids = next(line for line in status if line.startswith("NSpid")).split()[1:]
    if len(ids) > 1:
        return SANDBOX_ROLES.get(ids[-1], "branch")
    command = (folder / "cmdline").read_bytes().decode(errors="replace")
    return next((role for part, role in ROLES.items() if part in command), "other")
