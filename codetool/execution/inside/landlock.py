"""Landlock rules: restrict the files that a process and its descendants may access.

Each layer (at most 16) restricts further and cannot be removed, so a branch has at most the rights of its parent.
Kernel documentation: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from codetool.execution.inside.kernel import syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
MAX_LAYERS = 16

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 0b11 << 4, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_OWN = _READ | _WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE
_FILE_RIGHTS = _WRITE_FILE | _READ_FILE | _TRUNCATE
_DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE

_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
"""Number of file rights of each version; 16 from version 5 on, which adds ioctl on devices."""
_TCP = 0b11
_SCOPES = 0b11  # abstract unix sockets and signals


def detect_version() -> int:
    """The kernel's Landlock version, 0 if it has none."""
    try:
        return syscall(CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


def narrow(
    version: int, readable: Iterable[str], devices: Iterable[str], own: str, listable: Iterable[str] = ()
) -> None:
    """Add one layer that allows reading `readable`, writing `devices`, and everything but special files in `own`.

    Of folders in `listable` and of their subfolders, only the names of the entries may be read. TCP (version 4),
    abstract sockets and signals to outside processes (version 6) are forbidden too. Raises OSError.
    """
    handled = (1 << _RIGHTS_OF_VERSION.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", handled, _TCP, _SCOPES)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = syscall(CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in listable:
            _allow(ruleset, path, _READ_DIR & handled)
        for path in devices:
            _allow(ruleset, path, _DEVICE & handled)
        _allow(ruleset, own, _OWN & handled)
        syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            rights &= _FILE_RIGHTS
        syscall(ADD_RULE, ruleset, 1, ctypes.c_char_p(struct.pack("=Qi", rights, folder)), 0)
    finally:
        os.close(folder)
