"""A small process beside a sweep, which ends the sweep's workers at once if the sweep is killed.

    python worker_reaper.py MARK SWEEP

A killed process cannot end its workers, and a worker that is still importing cannot notice. This process imports
nothing, so it is there before them. It waits for the end of its standard input, which the sweep holds open. If nothing
has been written to it, the sweep was killed: every process with MARK in its environment, as it was started, is killed.
joblib's resource trackers are spared, since they remove the temporary files of the others and then end. They may have
been killed together with the sweep, so what joblib made for the process SWEEP is removed at last.

Limits: Linux only; workers that are forks without a program of their own have the sweep's environment and no mark.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "CODETOOL_SWEEP"
"""Environment variable that holds the mark of the sweep that a worker belongs to."""
SECONDS = 0.6
"""Time after the sweep's death in which workers that were just being started are found."""
POLL_SECONDS = 0.05
TEMPORARY_NAMES = ("sem.loky-{sweep}-*", "joblib_memmapping_folder_{sweep}_*")
"""Patterns of the names of joblib's semaphores and folders for large arguments, which begin with the sweep's id."""
SHARED_MEMORY = "/dev/shm"


@contextmanager
def end_workers_if_killed() -> Iterator[None]:
    """Mark the workers that are started in the context, and have them killed if this process is killed in it."""
    mark = secrets.token_hex(16)
    os.environ[VARIABLE] = mark
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that a kill of the sweep's process group does not reach it
    )
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        with suppress(BrokenPipeError):  # something has killed it
            reaper.communicate(b"the sweep has ended by itself")


def main(mark: str, sweep: int) -> None:
    """Wait for the end of the sweep, and kill its workers and remove their temporary files if it was killed."""
    if sys.stdin.buffer.read():
        return
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for process in find_marked_processes(mark):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    remove_temporary_files(sweep)


def remove_temporary_files(sweep: int) -> None:
    """Remove what joblib has made for the sweep with this process id."""
    import shutil  # only here, so that this process is ready before the workers
    import tempfile

    for folder in (SHARED_MEMORY, tempfile.gettempdir()):
        for pattern in TEMPORARY_NAMES:
            for path in Path(folder).glob(pattern.format(sweep=sweep)):
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):
                    path.unlink()


def find_marked_processes(mark: str) -> list[int]:
    """Return the ids of the other processes that were started with this mark, without resource trackers."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if int(folder.name) != os.getpid() and _is_marked(folder, f"{VARIABLE}={mark}".encode())
    ]


def _is_marked(folder: Path, entry: bytes) -> bool:
    """Return whether a process's folder in /proc tells of this entry in its environment."""
    try:
        environment = (folder / "environ").read_bytes().split(b"\0")
        return entry in environment and b"resource_tracker" not in (folder / "cmdline").read_bytes()
    except OSError:  # of another user, or it has ended
        return False


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
