"""Linux system calls that Python's `os` does not offer, through the C library's `syscall`."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAP_SYS_CHROOT, CAP_SYS_ADMIN = 18, 21
CLONE_NEWNS = 1 << 17

_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522


class LayerError(Exception):
    """A layer of the confinement, named by `layer`, cannot be built on this machine."""

    def __init__(self, layer: str, reason: object) -> None:
        super().__init__(f"{layer}: {reason}")
        self.layer = layer


@functools.cache
def load_libc() -> ctypes.CDLL:
    """The C library of this process, with errno support; cached, because each instance costs memory in every branch."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def check_result(result: int) -> int:
    """The result of a C library call. Raises OSError with its errno if it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def syscall(number: int, *arguments: object) -> int:
    """The result of a system call; integers are passed as longs. Raises OSError."""
    longs = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return check_result(load_libc().syscall(ctypes.c_long(number), *longs))


def prctl(option: int, value: int = 0) -> int:
    """Call the process control `option` with one value and return its result. Raises OSError."""
    return check_result(load_libc().prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))))


def unshare(flags: int) -> None:
    """Move this process into new namespaces. Raises OSError."""
    check_result(load_libc().unshare(ctypes.c_int(flags)))


def enter_namespace(descriptor: int, kind: int) -> None:
    """Move this process into the namespace of an open file, which must be of the given kind. Raises OSError."""
    check_result(load_libc().setns(descriptor, ctypes.c_int(kind)))


def keep_capabilities(mask: int) -> None:
    """Keep only the capabilities in the bit mask `mask`, none of them inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    syscall(_CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref(data))


def drop_bounding_set() -> None:
    """Drop the capability bounding set, so that no later program can gain a capability."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
