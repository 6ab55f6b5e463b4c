"""A small process between a run and its model server, which ensures that no server outlives its run.

    python -m codetool.models.vllm_watchdog COMMAND …

It starts the command, and ends it with all its descendants as soon as its own standard input is closed. That happens
when the run ends the server, and also when the run is killed without a chance to clean up.

Limits: Linux only. A SIGKILL to this process ends the command, but not the command's descendants.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL."""
POLL_SECONDS = 0.2
"""Maximum seconds between two checks whether the command has ended."""


def main() -> None:
    """Run the command until it ends or this process's standard input is closed; exit with the command's code."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the server become our children, so that none escapes
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit(1))
    command = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    )
    try:
        while command.poll() is None and not _is_abandoned():
            pass
    finally:
        end_descendants()
    sys.exit(command.returncode or 0)


def _is_abandoned() -> bool:
    """Return whether this process's standard input is closed; wait at most POLL_SECONDS for that."""
    readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def end_descendants() -> None:
    """Send SIGTERM to all descendants, and after GRACE_SECONDS SIGKILL; return when none is left."""
    for process in list_descendants():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while remaining := list_descendants():
        if time.monotonic() > deadline:
            for process in remaining:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


def list_descendants() -> list[int]:
    """Return the ids of all descendants of this process, including zombies."""
    descendants, parents = list[int](), [os.getpid()]
    while parents:
        children = [child for parent in parents for child in _list_children(parent)]
        descendants += children
        parents = children
    return descendants


def _list_children(process: int) -> list[int]:
    """Return the ids of a process's children; Linux lists them separately for each thread."""
    children = list[int]()
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                children += map(int, (thread / "children").read_text().split())
    return children


if __name__ == "__main__":
    main()
