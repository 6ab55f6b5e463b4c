"""Allow or refuse every fork and every new thread of sandboxed processes (seccomp user notification).

The system-call filter suspends each such call and notifies the host. A process that was told to branch may fork once;
a process may have up to MAX_THREADS threads. Everything else is refused. The filter has already checked the call's
registers, so letting the call continue opens no race.
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
"""Maximum number of threads of one process."""

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, instruction, arguments
_REPLY = struct.Struct("=QqiI")  # id, value, error, flags
_CONTINUE = 1


class ForkSupervisor:
    """Answers the filter's notifications in the event loop."""

    def __init__(self, listener: int) -> None:
        """`listener` is the file descriptor of the notifications; `close` closes it."""
        self._listener = listener
        self._granted: set[int] = set()
        os.set_inheritable(listener, False)
        asyncio.get_running_loop().add_reader(listener, self._answer)

    def grant(self, process: int) -> None:
        """Allow `process` to fork once."""
        self._granted.add(process)

    def revoke(self, process: int) -> None:
        """Withdraw an unused permission to fork."""
        self._granted.discard(process)

    def close(self) -> None:
        """Stop answering; forks in the sandbox then fail."""
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
            pass  # the process was killed while its call was suspended

    def _has_question(self) -> bool:
        """Whether a notification is waiting. If no process is left, stop watching the descriptor.

        Otherwise the event loop would be woken forever, and before Linux 6.11 the read would block forever.
        """
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        events = dict(poller.poll(0)).get(self._listener, 0)
        if events & ~select.POLLIN:
            asyncio.get_running_loop().remove_reader(self._listener)
        return bool(events & select.POLLIN)

    def _may_fork(self, task: int) -> bool:
        if task not in self._granted:
            return False
        self._granted.discard(task)
        return True


def count_threads(process: int) -> int:
    """Number of threads of a process, 0 if it has ended. The id of any of its threads works too."""
    try:
        return Path(f"/proc/{process}/task").stat().st_nlink - 2
    except OSError:
        return 0
