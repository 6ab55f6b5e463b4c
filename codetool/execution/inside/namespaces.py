"""Enter new user, mount, pid, net, ipc and uts namespaces as an unprivileged user.

If the host is root, sandboxed code runs as the host's `nobody`. The interpreter's folders are bind-mounted before, so
they stay readable even if their parents (`/root`) are closed to that user. An ordinary user keeps its uid on the host.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from codetool.execution.inside.kernel import (
    CAP_SYS_ADMIN,
    CAP_SYS_CHROOT,
    CLONE_NEWNS,
    PR_SET_KEEPCAPS,
    LayerError,
    drop_bounding_set,
    keep_capabilities,
    prctl,
    unshare,
)
from codetool.execution.inside.mounts import build_root

USER = 1000
"""Uid and gid inside the namespace."""
NOBODY = 65534
"""Uid and gid on the host if the host is root."""

_USER, _PID, _NET, _IPC, _UTS = 1 << 28, 1 << 29, 1 << 30, 1 << 27, 1 << 26


def enter(readable: Sequence[str], masked: Sequence[str]) -> tuple[str, int]:
    """Move this process into new namespaces; returns the user on the host, `nobody` or `own`, and its mount namespace.

    The latter is an open file. Folders in `masked` appear empty. The process keeps the capabilities to mount scratch
    folders in the mount namespaces of branches. The pid namespace begins with its next child. Raises LayerError.
    """
    try:
        uid, gid = os.geteuid(), os.getegid()
        maps = [(f"{USER} {uid} 1", f"{USER} {gid} 1", True)]
        if uid == 0 and all(Path(path).stat().st_mode & 0o005 == 0o005 for path in readable):
            maps.insert(0, (f"0 0 1\n{USER} {NOBODY} 1", f"0 0 1\n{USER} {NOBODY} 1", False))
        ready, go = os.pipe()
        mapper = os.fork()
        if mapper == 0:
            os.close(go)
            os._exit(_map_users(os.getppid(), ready, maps))
        unshare(_USER | CLONE_NEWNS | _PID | _NET | _IPC | _UTS)
        os.close(ready)
        os.close(go)
        chosen = os.waitstatus_to_exitcode(os.waitpid(mapper, 0)[1])
        if not 0 <= chosen < len(maps):
            raise OSError("the user could not be mapped into a user namespace")
        mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        drop_bounding_set()
        build_root(readable, masked)
        nobody = not maps[chosen][2]
        if nobody:
            _become_user()
        keep_capabilities(1 << CAP_SYS_ADMIN | 1 << CAP_SYS_CHROOT)
    except OSError as error:
        raise LayerError("namespaces", error) from error
    return "nobody" if nobody else "own", mounts


def _map_users(process: int, ready: int, maps: Sequence[tuple[str, str, bool]]) -> int:
    """Index of the first mapping (users, groups, deny setgroups) that the kernel accepts. Runs outside."""
    os.read(ready, 1)
    folder = Path(f"/proc/{process}")
    for index, (users, groups, alone) in enumerate(maps):
        try:
            (folder / "uid_map").write_text(users)
            if alone:
                (folder / "setgroups").write_text("deny")
            (folder / "gid_map").write_text(groups)
            return index
        except OSError:
            continue
    return len(maps)


def _become_user() -> None:
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
