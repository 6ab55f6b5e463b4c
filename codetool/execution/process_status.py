"""What the kernel reports about a sandboxed process: its CPU time, its waiting for a core, and how it ended.

Nothing here trusts the process. Files in /proc are read as bytes, because a process chooses its own name, which may
hold any bytes, brackets and line breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from codetool.execution.inside.limits import (
    list_parents,
    measure_cpu_seconds,
    parse_anonymous_memory,
    read_stat_fields,
)
from codetool.execution.inside.mounts import SCRATCH

EndCause = Literal["running", "own", "outside", "unknown"]
"""Why a process ended: `own`: by what its code did; `outside`: by a signal that its code cannot cause; `unknown`: the
kernel does not report it (before Linux 6.15). `running`: it has not ended."""

BRANCH_NICENESS = 10
"""Niceness of the session of a branch whose step runs long; it gets a ninth of the CPU time of one that has 0."""
YIELD_SECONDS = 0.1
"""Seconds after which a step runs long."""

_EXITING = 0x4
"""PF_EXITING in the ninth field of `stat`: the process is ending, though it is still listed."""
_GET_INFO, _INFO_EXIT = 0xC040FF0B, 1 << 3
_PIDFD_INFO = struct.Struct("=QQ11Ii")
"""Mask, cgroup, eleven ids, exit status: version 0 of the kernel's `struct pidfd_info`."""
_CPU_CLOCK = 2
_NANOSECONDS = 1e9

OWN_SIGNALS = frozenset(
    getattr(signal, name).value
    for name in ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT", "SIGALRM", "SIGVTALRM")
    + ("SIGPROF", "SIGXCPU", "SIGXFSZ", "SIGPIPE")
    if hasattr(signal, name)
)
"""Signals that code can cause in its own process although it may send none: faults, timers and limits."""


def read_cpu_seconds(process: int) -> float:
    """CPU seconds of all threads of a process so far, 0 if it has ended."""
    try:
        return time.clock_gettime((~process << 3) | _CPU_CLOCK)
    except (OSError, AttributeError, OverflowError):
        return measure_cpu_seconds(process)


def read_core_waits(process: int) -> dict[str, float]:
    """Seconds that each thread of a process has waited for a core so far; empty if the kernel does not count them."""
    waits = {}
    for thread in _list_threads(process):
        try:
            fields = Path(f"/proc/{process}/task/{thread}/schedstat").read_bytes().split()
            waits[thread] = int(fields[1]) / _NANOSECONDS
        except (OSError, IndexError, ValueError):
            continue
    return waits


def is_runnable(process: int) -> bool:
    """Whether a thread of the process runs or waits for a core at this moment."""
    paths = (f"/proc/{process}/task/{thread}/stat" for thread in _list_threads(process))
    return any(_read_state(path) == b"R" for path in paths)


def find_child(process: int, known: Collection[int]) -> int | None:
    """A child of a process that is not among `known`, None if there is none."""
    try:
        children = [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_bytes().split()]
    except OSError:  # the kernel was built without this file
        children = [pid for pid, parent in list_parents().items() if parent == process]
    return next((pid for pid in children if pid not in known), None)


def measure_memory(process: int) -> int:
    """Bytes of anonymous memory of a process, including what it shares with other forks; 0 if it has ended."""
    try:
        return parse_anonymous_memory(Path(f"/proc/{process}/statm").read_bytes())
    except (OSError, ValueError):
        return 0


def measure_exact_memory(process: int) -> int | None:
    """Bytes of memory of a process, its share of what it shares included; None if the kernel does not allow it."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss_Anon:")), None)


def measure_scratch(process: int) -> int:
    """Bytes of memory that the files of a process's scratch folder take; 0 if the process has ended.

    The folder is a mount of its own; `mounts.SCRATCH` lies in a read-only folder, so the path leads nowhere else.
    """
    try:
        status = os.statvfs(f"/proc/{process}/root{SCRATCH}")
    except OSError:
        return 0
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def prefer_as_victim(process: int) -> None:
    """Make the kernel's out-of-memory killer prefer a process and its future children to all others."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/oom_score_adj").write_bytes(b"1000")


@contextlib.contextmanager
def yield_to_host_later(process: int) -> Iterator[None]:
    """Let a branch yield to the host if it is still busy after YIELD_SECONDS; short steps and forks lose no time."""
    timer = asyncio.get_running_loop().call_later(YIELD_SECONDS, _yield_to_host, process)
    try:
        yield
    finally:
        timer.cancel()


def _yield_to_host(process: int) -> None:
    """Give a branch's session less CPU time than the host's: one host beside hundreds of branches must not starve."""
    with contextlib.suppress(OSError):  # no autogroups, or an ordinary user's changes are too frequent for the kernel
        Path(f"/proc/{process}/autogroup").write_bytes(b"%d" % BRANCH_NICENESS)


def prefer_watch(process: int) -> None:
    """Give the session of the process that watches the branches' memory the largest share of the cores, if allowed."""
    with contextlib.suppress(OSError):  # only root may; for others, it uses far less than an equal share
        Path(f"/proc/{process}/autogroup").write_bytes(b"-20")


def count_oom_kills() -> int:
    """Number of processes that the kernel has killed for lack of memory since it started, 0 if it does not say."""
    try:
        lines = Path("/proc/vmstat").read_bytes().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)


def find_end_cause(process: int, pidfd: int, *, may_signal: bool) -> EndCause:
    """How a process ended. `may_signal` says whether its code could send signals, so that they prove nothing."""
    status = _read_exit_status(process, pidfd)
    if status is None:
        if _is_running(process, pidfd):
            return "running"
        status = _read_exit_status(process, pidfd)  # it ended since the first look
    if status is None:
        return "unknown"
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) in OWN_SIGNALS:
        return "own"
    return "unknown" if may_signal else "outside"


def is_ending(process: int) -> bool:
    """Whether a process has ended or is about to: its files may be closed before it can be waited for."""
    try:
        fields = read_stat_fields(process)
        return fields[0] in (b"Z", b"X") or bool(int(fields[6]) & _EXITING)
    except (OSError, IndexError, ValueError):
        return True


def _read_exit_status(process: int, pidfd: int) -> int | None:
    """The status that `wait` would report, None if the process runs or the kernel does not say."""
    try:
        reply = fcntl.ioctl(pidfd, _GET_INFO, _PIDFD_INFO.pack(_INFO_EXIT, *(0,) * 13))
        mask, *_, status = _PIDFD_INFO.unpack(reply)
        if mask & _INFO_EXIT:
            return int(status)
    except (OSError, ValueError):
        pass
    try:  # a zombie, whose parent has not waited for it
        fields = read_stat_fields(process)
        return int(fields[-1]) if fields[0] == b"Z" else None
    except (OSError, IndexError, ValueError):
        return None


def _is_running(process: int, pidfd: int) -> bool:
    if pidfd < 0:
        return not is_ending(process)
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def read_state(process: int) -> bytes:
    """The state of a process's main thread, such as b"S" if it sleeps; empty if it has ended."""
    return _read_state(f"/proc/{process}/stat")


def _list_threads(process: int) -> list[str]:
    try:
        return [thread.name for thread in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return []


def _read_state(path: str) -> bytes:
    try:
        return Path(path).read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""
