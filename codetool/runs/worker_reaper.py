"""A small process beside a command, which ends the command's workers at once if the command is killed.

    python worker_reaper.py VARIABLE=MARK PATTERN...

A killed process cannot end its workers, and a worker that is still importing cannot notice. This process imports
nothing, so it is there before them. It waits for the end of its standard input, which the command holds open. If
nothing has been written to it, the command was killed: every process with VARIABLE=MARK in its environment, as it was
started, is killed. joblib's resource trackers are spared, since they remove the temporary files of the others and then
end. They may have been killed together with the command, so the files and folders of the patterns are removed at last.

Limits: Linux only; workers that are forks without a program of their own have the command's environment and no mark.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 0.6
"""Time after the command's death in which workers that were just being started are found."""
POLL_SECONDS = 0.05


@contextmanager
def end_workers_if_killed(variable: str, patterns: Sequence[str] = ()) -> Iterator[None]:
    """Mark the workers that are started in the context, and have them killed if this process is killed in it.

    `variable` is the environment variable that holds the mark, and `patterns` are absolute paths of what to remove
    then, with wildcards in their names.
    """
    mark = secrets.token_hex(16)
    os.environ[variable] = mark
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, f"{variable}={mark}", *patterns],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that a kill of the command's process group does not reach it
    )
    try:
        yield
    finally:
        del os.environ[variable]
        with suppress(BrokenPipeError):  # something has killed it
            reaper.communicate(b"the command has ended by itself")


def main(mark: str, patterns: Sequence[str]) -> None:
    """Wait for the end of the command, and kill its workers and remove their temporary files if it was killed."""
    if sys.stdin.buffer.read():
        return
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        kill_marked_processes(mark)
        time.sleep(POLL_SECONDS)
    remove_temporary_files(patterns)


def kill_marked_processes(mark: str) -> None:
    """Kill the other processes that were started with `VARIABLE=MARK` in their environment."""
    for process in find_marked_processes(mark):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)


def remove_temporary_files(patterns: Sequence[str]) -> None:
    """Remove the files and folders of these patterns."""
    import shutil  # only here, so that this process is ready before the workers

    for pattern in map(Path, patterns):
        for path in pattern.parent.glob(pattern.name):
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.unlink()


def find_marked_processes(mark: str) -> list[int]:
    """Return the ids of the other processes that were started with `VARIABLE=MARK`, without resource trackers."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if int(folder.name) != os.getpid() and _is_marked(folder, mark.encode())
    ]


def _is_marked(folder: Path, entry: bytes) -> bool:
    """Return whether a process's folder in /proc tells of this entry in its environment."""
    try:
        environment = (folder / "environ").read_bytes().split(b"\0")
        return entry in environment and b"resource_tracker" not in (folder / "cmdline").read_bytes()
    except OSError:  # of another user, or it has ended
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
