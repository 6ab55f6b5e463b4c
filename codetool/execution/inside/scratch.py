"""Give a branch its own copy of its parent's scratch folder and of its open files.

A fork shares open files, including their offsets, with its parent. Open files of the scratch folder are therefore
reopened on the copies; other open files, pipes and sockets become /dev/null.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

BRANCHES_FOLDER = ".branches"
"""Subfolder that holds the folders of a branch's own branches; it is never copied."""

FileIdentity = tuple[int, int]


def move_into_folder(old: str | None, new: str, connection: int, files: int) -> None:
    """Copy folder `old` to `new` and make it the working folder.

    `connection` is the descriptor of the socket to keep open; descriptors from 3 to `files` are replaced.
    """
    copies = dict(_copy(old, new)) if old else {}
    os.chdir(new)
    os.environ["HOME"] = os.environ["TMPDIR"] = new
    tempfile.tempdir = None
    _reopen(copies, connection, files)


def _copy(old: str, new: str) -> Iterator[tuple[FileIdentity, str]]:
    """Copy a folder's contents as far as possible; yields the identity of each old file and the path of its copy."""
    for entry in os.scandir(old):
        target = f"{new}/{entry.name}"
        with contextlib.suppress(OSError):
            if entry.name == BRANCHES_FOLDER:
                continue
            if entry.is_symlink():
                Path(target).symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                Path(target).mkdir()
                yield from _copy(entry.path, target)
            elif entry.is_file():
                shutil.copyfile(entry.path, target)
                status = entry.stat()
                yield (status.st_dev, status.st_ino), target


def _reopen(copies: dict[FileIdentity, str], connection: int, files: int) -> None:
    for number in range(3, files):
        if number == connection:
            continue
        try:
            status = os.fstat(number)
        except OSError:
            continue
        copy = copies.get((status.st_dev, status.st_ino)) if stat.S_ISREG(status.st_mode) else None
        with contextlib.suppress(OSError):
            if copy is None:
                _replace(number, os.open(os.devnull, os.O_RDWR))
            else:
                flags = fcntl.fcntl(number, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)
                offset = os.lseek(number, 0, os.SEEK_CUR)
                fresh = os.open(copy, flags)
                os.lseek(fresh, offset, os.SEEK_SET)
                _replace(number, fresh)


def _replace(number: int, fresh: int) -> None:
    os.dup2(fresh, number, inheritable=False)
    os.close(fresh)
