"""Run the rest of the command line as somebody else: `nobody`, or a user who may not make user namespaces.

    python weaker.py nobody COMMAND...             as uid 65534, started by root
    python weaker.py no_namespaces COMMAND...      with user.max_user_namespaces=0
    python weaker.py one_mount_namespace COMMAND...  with user.max_mnt_namespaces=1

Folders of the interpreter and the project that lie behind closed doors (`/root`) are bound where they are, in a mount
namespace of this process alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

NOBODY = 65534
NEW_MOUNTS, NEW_USERS, BIND, RECURSIVE, PRIVATE = 0x20000, 0x10000000, 4096, 16384, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    checked(libc.mount(source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data.encode()))


def open_doors(paths: Iterable[Path]) -> None:
    """Make `paths` reachable for everybody in a mount namespace of this process."""
    checked(libc.unshare(NEW_MOUNTS))
    mount("none", "/", None, RECURSIVE | PRIVATE)
    for path in paths:
        closed = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001]
        if closed:
            held = os.open(path, os.O_PATH)
            mount("tmpfs", str(closed[0]), "tmpfs", 0, "mode=755")
            path.mkdir(parents=True)
            mount(f"/proc/self/fd/{held}", str(path), None, BIND | RECURSIVE)
            os.close(held)


def become_nobody() -> None:
    project = Path(__file__).resolve().parents[2]
    open_doors({Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), project})
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.environ["HOME"] = "/"


def forbid_namespaces() -> None:
    limit_namespaces("user", 0)


def allow_one_mount_namespace() -> None:
    limit_namespaces("mnt", 1)


def limit_namespaces(kind: str, limit: int) -> None:
    """Move into a user namespace with a limit on further namespaces."""
    uid, gid = os.geteuid(), os.getegid()
    checked(libc.unshare(NEW_USERS))
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    Path(f"/proc/sys/user/max_{kind}_namespaces").write_text(str(limit))


WAYS = {
    "nobody": become_nobody,
    "no_namespaces": forbid_namespaces,
    "one_mount_namespace": allow_one_mount_namespace,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    os.execv(sys.argv[2], sys.argv[2:])
