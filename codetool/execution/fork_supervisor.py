"""The host's say over every fork and thread in the sandbox.

The system-call filter stops each such call and asks here. One plain fork passes for a process that was just told to
branch; threads pass up to a number. All the rest is refused, for root as for anybody, without counting per user.
What is allowed was decided by the filter from registers, so letting the call continue opens no race.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import struct
from pathlib import Path

from codetool.execution.inside.seccomp import FORK_FLAGS

MAX_THREADS = 32
"""Threads one process may have."""

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, instruction, arguments
_REPLY = struct.Struct("=QqiI")  # id, value, error, flags
_CONTINUE = 1


class ForkSupervisor:
    """Answers the filter's questions from the event loop."""

    def __init__(self, listener: int) -> None:
        """`listener` is the file on which the kernel asks; it is closed by `close`."""
        self._listener = listener
        self._granted: set[int] = set()
        os.set_inheritable(listener, False)
        asyncio.get_running_loop().add_reader(listener, self._answer)

    def grant(self, process: int) -> None:
        """Let `process` fork once."""
        self._granted.add(process)

    def revoke(self, process: int) -> None:
        """Take back what was granted and not used."""
        self._granted.discard(process)

    def close(self) -> None:
        """Answer no more; forks in the sandbox then fail by themselves."""
        asyncio.get_running_loop().remove_reader(self._listener)
        os.close(self._listener)

    def _answer(self) -> None:
        if not self._has_question():
            return
        buffer = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
            identity, task, _, _, _, _, flags, *_ = _NOTICE.unpack(buffer)
            fork = flags in FORK_FLAGS
            allowed = self._may_fork(task) if fork else count_threads(task) < MAX_THREADS
            refusal = -(errno.EPERM if fork else errno.EAGAIN)
            reply = _REPLY.pack(identity, 0, 0 if allowed else refusal, _CONTINUE if allowed else 0)
            fcntl.ioctl(self._listener, _SEND, bytearray(reply))
        except (FileNotFoundError, InterruptedError):
            pass  # the process was killed while it asked

    def _has_question(self) -> bool:
        """Whether there is a question; where nobody is left to ask one, the event loop need not look any more.

        It would be woken without end, and before Linux 6.11 wait for a question for ever.
        """
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        events = dict(waiting.poll(0)).get(self._listener, 0)
        if events & ~select.POLLIN:
            asyncio.get_running_loop().remove_reader(self._listener)
        return bool(events & select.POLLIN)

    def _may_fork(self, task: int) -> bool:
        if task not in self._granted:
            return False
        self._granted.discard(task)
        return True


def count_threads(process: int) -> int:
    """How many threads a process has, 0 if it is gone. A thread's id will do as well."""
    try:
        return Path(f"/proc/{process}/task").stat().st_nlink - 2
    except OSError:
        return 0
