"""Lock open files among the processes of a machine, as far as their file system can.

Network file systems differ: some lock among all machines, some among the processes of one machine alone, and some
refuse every lock. Files that several machines write at the same time therefore need more than this, see `claim.py`.
"""

from __future__ import annotations

import errno
import fcntl
from typing import IO, Any

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks, as Lustre without the mount option `flock`."""


def lock_exclusively(file: IO[Any] | int, *, wait: bool = True) -> bool:
    """Lock an open file until it is closed or unlocked; return False if its file system has no locks.

    If another process holds the lock, `wait` for its end or raise BlockingIOError.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def unlock(file: IO[Any] | int) -> None:
    """Unlock an open file that this process has locked, if it could."""
    try:
        fcntl.flock(file, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
