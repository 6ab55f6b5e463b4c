"""Allow or refuse every fork, thread and mount namespace of sandboxed processes (seccomp user notification).

The system-call filter suspends each such call and notifies the host. A process that was told to branch may fork once,
and the new branch may move once into a mount namespace of its own, before it runs a step; a process may have up to
MAX_THREADS threads. Everything else is refused. The filter has already checked the call's
registers, so letting the call continue opens no race.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import select
import struct
from collections.abc import Container
from pathlib import Path

from codetool.execution.inside.limits import read_family
from codetool.execution.inside.seccomp import FORK_FLAGS, find_call

logger = logging.getLogger(__name__)

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
        self._unshare_number = find_call("unshare")
        self._has_failed = False
        self._granted: set[int] = set()
        self._granted_to_child: set[int] = set()
        self.known_processes: Container[int] = ()
        """The processes that have settled, which may not change their mount namespace any more."""
        os.set_inheritable(listener, False)
        asyncio.get_running_loop().add_reader(listener, self._answer)

    def grant(self, process: int) -> None:
        """Allow `process` to fork once, and its new child to move into a mount namespace of its own once."""
        self._granted.add(process)
        self._granted_to_child.add(process)

    def revoke(self, process: int) -> None:
        """Withdraw the unused permissions of `grant`."""
        self._granted.discard(process)
        self._granted_to_child.discard(process)

    def close(self) -> None:
        """Stop answering; forks in the sandbox then fail. A second call does nothing."""
        if self._listener >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            os.close(self._listener)
            self._listener = -1

    def _answer(self) -> None:
        if not self._has_question():
            return
        buffer = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, buffer)
            identity, task, _, number, _, _, flags, *_ = _NOTICE.unpack(buffer)
            refusal = self._find_refusal_safely(task, number, flags)
            reply = _REPLY.pack(identity, 0, -refusal, 0 if refusal else _CONTINUE)
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

    def _find_refusal_safely(self, task: int, number: int, flags: int) -> int:
        """As `_find_refusal`; a failure refuses the call, which would stay suspended otherwise, and is logged once."""
        try:
            return self._find_refusal(task, number, flags)
        except Exception as error:
            if not self._has_failed:
                self._has_failed = True
                logger.warning(
                    "A fork or thread was refused, since its check failed: %s: %s", type(error).__name__, error
                )
            return errno.EPERM

    def _find_refusal(self, task: int, number: int, flags: int) -> int:
        """The error with which a call is refused, 0 if it is allowed."""
        if number == self._unshare_number:
            return 0 if self._may_change_mounts(task) else errno.EPERM
        if flags in FORK_FLAGS:
            return 0 if _take(self._granted, task) else errno.EPERM
        return 0 if count_threads(task) < MAX_THREADS else errno.EAGAIN

    def _may_change_mounts(self, task: int) -> bool:
        process, parent = read_family(task)
        return process not in self.known_processes and _take(self._granted_to_child, parent)


def _take(permissions: set[int], process: int) -> bool:
    """Use up a permission; whether there was one."""
    allowed = process in permissions
    permissions.discard(process)
    return allowed


def count_threads(process: int) -> int:
    """Number of threads of a process, 0 if it has ended. The id of any of its threads works too."""
    try:
        return Path(f"/proc/{process}/task").stat().st_nlink - 2
    except OSError:
        return 0
