"""Resource limits of every sandboxed process, set once and inherited."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

MAX_OPEN_FILES = 128
"""Open files of one process."""


def apply(*, address_space: int = -1, file_size: int = -1, cpu_seconds: int = -1) -> None:
    """Limit this process and its children for good: bytes of address space, bytes of a file, seconds of CPU.

    What is -1 stays as it was. CPU time is the last resort against a process that the host no longer watches.
    """
    limits = {"RLIMIT_AS": address_space, "RLIMIT_FSIZE": file_size, "RLIMIT_CPU": cpu_seconds}
    limits |= {"RLIMIT_NOFILE": MAX_OPEN_FILES, "RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0}
    for name, limit in limits.items():
        number = getattr(resource, name, None)
        if number is not None and limit >= 0:
            with contextlib.suppress(ValueError, OSError):  # not every system has every one, or lets it shrink
                resource.setrlimit(number, (limit, limit))


def prefer_as_victim() -> None:
    """Make the kernel end sandboxed processes first where the machine runs out of memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def measure_address_space() -> int:
    """Bytes of address space in use; 4 GiB where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 4 * 2**30


def list_parents() -> dict[int, int]:
    """Every visible process and its parent; empty where the system has no /proc."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            found[int(entry.name)] = read_parent(int(entry.name))
    return found


def read_parent(process: int) -> int:
    """The parent of a process. Raises OSError where it is gone."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def measure_cpu_seconds(process: int) -> float:
    """CPU time that a process has used so far, 0 where it cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
