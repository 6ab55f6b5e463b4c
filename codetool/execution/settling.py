"""Check from outside that a new branch shares no file with its parent and its siblings.

A new branch is a fork of a process that ran generated code, which may have replaced any Python function. The branch is
asked to move into a mount namespace of its own and to replace its open files, but it is not believed: the kernel tells
the host, under /proc, which namespace, threads, open files and working folder the branch has.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from codetool.execution.fork_supervisor import count_threads
from codetool.execution.process_status import read_cpu_seconds, read_state
from codetool.execution.protocol import ProtocolError

_NULL_DEVICE = os.makedev(1, 3)


@dataclass(frozen=True)
class ExpectedFiles:
    """What a settled branch may hold: one socket, and files of its own scratch folder; not those of its parent."""

    socket_inode: int
    scratch_device: int
    parent_device: int


def open_mount_namespace(process: int, parent: int) -> int:
    """The mount namespace of a new branch, as an open file. Raises ProtocolError if it is the parent's, OSError."""
    namespace = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    if os.fstat(namespace).st_ino == Path(f"/proc/{parent}/ns/mnt").stat().st_ino:
        os.close(namespace)
        raise ProtocolError("it did not move into a mount namespace of its own")
    return namespace


def check_separation(process: int, namespace: int, expected: ExpectedFiles) -> None:
    """Raise ProtocolError if a branch holds what is not its own, OSError if it has ended."""
    if count_threads(process) != 1:
        raise ProtocolError("it has threads before its first step")
    if Path(f"/proc/{process}/ns/mnt").stat().st_ino != os.fstat(namespace).st_ino:
        raise ProtocolError("it left its mount namespace")
    if Path(f"/proc/{process}/cwd").stat().st_dev == expected.parent_device:
        raise ProtocolError("it works in its parent's folder")
    with os.scandir(f"/proc/{process}/fd") as files:
        if not all(_may_be_open(file.stat(), expected) for file in files):
            raise ProtocolError("it holds an open file of its parent")


def is_apart(parent: int, socket_inode: int) -> bool | None:
    """Whether a process that has forked does not hold its child's socket; None if it runs, so that it cannot be said.

    With the socket it could read what the child is told, and pass it on to its later branches. Raises OSError if it has
    ended.
    """
    before = read_cpu_seconds(parent)
    with os.scandir(f"/proc/{parent}/fd") as files:
        holds = any(file.stat().st_ino == socket_inode for file in files)
    if holds:
        return False
    return True if read_state(parent) == b"S" and read_cpu_seconds(parent) == before else None


def _may_be_open(status: os.stat_result, expected: ExpectedFiles) -> bool:
    if stat.S_ISSOCK(status.st_mode):
        return status.st_ino == expected.socket_inode
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev == _NULL_DEVICE
    return (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)) and status.st_dev == expected.scratch_device
