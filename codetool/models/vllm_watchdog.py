"""A small process between a run and its model server, so that no server outlives its run.

    python -m codetool.models.vllm_watchdog COMMAND …

It starts the command and ends it, with every process the command has started, as soon as its standard input closes:
that happens when the run lets go of the server, and when the run is killed in a way that lets it do nothing more.

Limits: Linux. A SIGKILL to this process itself ends the command, but not what the command has started.
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
"""Between the request to end and the end by force."""
POLL_SECONDS = 0.2


def main() -> None:
    """Run the command until it ends or nobody holds our standard input any more; exit with its code."""
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
    """Whether our standard input is closed at the other end; looks for LOOK_SECONDS at most."""
    readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def end_descendants() -> None:
    """Ask all our descendants to end, wait a little, then kill what is left of them; returns when none is left."""
    for process in list_descendants():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while left := list_descendants():
        if time.monotonic() > deadline:
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


def list_descendants() -> list[int]:
    """The ids of all processes below this one, zombies among them."""
    found, parents = list[int](), [os.getpid()]
    while parents:
        children = [child for parent in parents for child in _list_children(parent)]
        found += children
        parents = children
    return found


def _list_children(process: int) -> list[int]:
    """A process's children; those of each of its threads are listed apart."""
    children = list[int]()
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                children += map(int, (thread / "children").read_text().split())
    return children


if __name__ == "__main__":
    main()
