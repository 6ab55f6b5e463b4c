"""Resource limits of sandboxed processes, and measurements from /proc."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from pathlib import Path

MAX_OPEN_FILES = 128
"""Maximum number of open files of one process."""
_FAMILY = re.compile(rb"^Tgid:\s*(\d+)$.*^PPid:\s*(\d+)$", re.MULTILINE | re.DOTALL)
PAGE_BYTES = resource.getpagesize()
CPU_GRACE_SECONDS = 10
"""CPU seconds between the limit's own signal (SIGXCPU), which tells it from a kill from outside, and SIGKILL."""


def apply(*, address_space: int = -1, file_size: int = -1, cpu_seconds: int = -1) -> None:
    """Set permanent limits of this process and its children: bytes of address space and of a file, CPU seconds.

    A value of -1 leaves a limit unchanged. The CPU limit ends processes that the host no longer watches.
    """
    limits = {"RLIMIT_AS": address_space, "RLIMIT_FSIZE": file_size, "RLIMIT_CPU": cpu_seconds}
    limits |= {"RLIMIT_NOFILE": MAX_OPEN_FILES, "RLIMIT_CORE": 0, "RLIMIT_MEMLOCK": 0, "RLIMIT_MSGQUEUE": 0}
    for name, limit in limits.items():
        number = getattr(resource, name, None)
        if number is not None and limit >= 0:
            with contextlib.suppress(ValueError, OSError):  # some systems lack a limit or do not allow lowering it
                resource.setrlimit(number, (limit, limit + (CPU_GRACE_SECONDS if name == "RLIMIT_CPU" else 0)))


def measure_address_space() -> int:
    """Bytes of address space in use; 4 GiB if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[0]) * PAGE_BYTES
    except OSError:
        return 4 * 2**30


def parse_anonymous_memory(statm: bytes) -> int:
    """Bytes of anonymous memory of a process by its file `statm`. Raises ValueError if that is empty."""
    _, resident, shared, *_ = statm.split()
    return (int(resident) - int(shared)) * PAGE_BYTES


def list_parents() -> dict[int, int]:
    """Parent pid of every visible process; empty if the system has no /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parents[int(entry.name)] = read_parent(int(entry.name))
    return parents


def read_stat_fields(process: int) -> list[bytes]:
    """The fields of a process's `stat` file from its state (the third) on. Raises OSError if it has ended.

    They are bytes: the process chooses its name, which stands before them and may hold anything.
    """
    return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()


def read_parent(process: int) -> int:
    """The parent pid of a process. Raises OSError if it has ended."""
    return int(read_stat_fields(process)[1])


def read_family(task: int) -> tuple[int, int]:
    """The process of a thread and its parent, (0, 0) if the thread has ended."""
    try:
        match = _FAMILY.search(Path(f"/proc/{task}/status").read_bytes())
    except OSError:
        match = None
    return (int(match[1]), int(match[2])) if match else (0, 0)


def measure_cpu_seconds(process: int) -> float:
    """CPU time of a process in seconds, 0 if it is not available."""
    try:
        fields = read_stat_fields(process)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
