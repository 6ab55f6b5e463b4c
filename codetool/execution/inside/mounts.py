"""Mounts of the sandbox: a read-only root with the interpreter's folders, and a tmpfs for each branch's scratch folder.

Every branch has a mount namespace of its own, in which its own tmpfs is mounted at SCRATCH. A branch can therefore name
no file of another branch. Pid 1 makes these mounts from outside, because Landlock forbids a branch to mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from codetool.execution.inside.kernel import CLONE_NEWNS, check_result, enter_namespace, load_libc, syscall

SCRATCH_PARENT = "/scratch"
"""Read-only folder of the mount points below; Landlock's rule for scratch files belongs to it."""
SCRATCH = "/scratch/home"
"""Where each branch finds its scratch folder."""
OLD_SCRATCH = "/scratch/parent"
"""Where a new branch finds its parent's scratch folder while it copies the contents."""
NULL = "/dev/null"

_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _MOVE, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 8192, 16384, 1 << 18
_DETACH, _NOFOLLOW = 2, 8
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _RECURSIVE, _ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 442, 0x8000, 1, 2, 4
_STAGE = "/proc"  # a mount point that is always there and holds none of the interpreter's files


def list_readable_folders() -> list[str]:
    """The folders that a running interpreter needs: its library, its packages, the system's shared libraries."""
    paths = sysconfig.get_paths()
    candidates = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    candidates += ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"]
    candidates += [sysconfig.get_config_var("LIBDIR") or "/usr/lib"]
    real = {path for path in candidates if Path(path).is_dir() and not Path(path).is_symlink()}
    return sorted(path for path in real if not any(path.startswith(f"{other}/") for other in real))


def locate(hidden: str, readable: Iterable[str]) -> list[str]:
    """Every path of the folder `hidden` inside the folders `readable`, which may lead there by symbolic links."""
    target = Path(hidden).resolve()
    return [
        str(Path(path, target.relative_to(Path(path).resolve())))
        for path in readable
        if target.is_relative_to(Path(path).resolve())
    ]


def exclude(hidden: Iterable[str], readable: Iterable[str]) -> tuple[list[str], list[str]]:
    """The files and folders below `readable` without those in `hidden`, and the folders that had to be taken apart."""
    kept, opened, left = [], [], list(readable)
    while left:
        path = left.pop()
        if path in hidden:
            continue
        if any(other.startswith(f"{path}/") for other in hidden):
            opened.append(path)
            left += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]  # a link may lead to it
        else:
            kept.append(path)
    return sorted(kept), sorted(opened)


def build_root(readable: Sequence[str], masked: Iterable[str]) -> None:
    """Replace the root of this mount namespace; folders in `masked` appear empty. Raises OSError."""
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", _STAGE, "tmpfs", _NOSUID | _NODEV, "mode=755,size=4m")
    stage = Path(_STAGE)
    for path in readable:
        _bind(path, stage)
    for path in masked:
        _mount("tmpfs", f"{_STAGE}{path}", "tmpfs", _RDONLY | _NOSUID | _NODEV, "mode=755,size=4k")
    for link in ("/lib", "/lib64"):
        if Path(link).is_symlink():
            (stage / link[1:]).symlink_to(Path(link).readlink())
    (stage / "dev").mkdir()
    (stage / NULL[1:]).touch()
    _mount(NULL, f"{_STAGE}{NULL}", None, _BIND)
    _set_attributes(f"{_STAGE}{NULL}", _ATTR_RDONLY | _ATTR_NOSUID)  # its mode and times; it can still be written
    for folder in (SCRATCH, OLD_SCRATCH):
        (stage / folder[1:]).mkdir(parents=True)
    os.chdir(_STAGE)
    syscall(_PIVOT_ROOT[os.uname().machine], ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    check_result(load_libc().umount2(b".", _DETACH))
    os.chdir("/")
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def mount_scratch(size: int, files: int) -> int:
    """Mount an empty tmpfs at SCRATCH, of `size` bytes and `files` entries (0: no limit); returns its device number.

    Raises OSError.
    """
    _mount("tmpfs", SCRATCH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, f"size={size},nr_inodes={files},mode=700")
    return Path(SCRATCH).stat().st_dev


def move_scratch_aside() -> None:
    """Mount what is at SCRATCH at OLD_SCRATCH instead. Raises OSError."""
    _mount(SCRATCH, OLD_SCRATCH, None, _MOVE)


def unmount(folder: str) -> None:
    """Unmount what is at `folder`. Raises OSError."""
    check_result(load_libc().umount2(folder.encode(), _DETACH | _NOFOLLOW))


@contextlib.contextmanager
def visit(namespace: int, home: int) -> Iterator[None]:
    """Be in the mount namespace of the open file `namespace`; then return to `home`. Raises OSError."""
    enter_namespace(namespace, CLONE_NEWNS)
    try:
        yield
    finally:
        try:
            enter_namespace(home, CLONE_NEWNS)
        except OSError:
            os._exit(1)  # it must not serve others from a branch's file system


def _bind(path: str, stage: Path) -> None:
    target = stage / path.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    _mount(path, str(target), None, _BIND | _REC)
    _set_attributes(str(target), _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)


def _set_attributes(target: str, flags: int) -> None:
    """Add attributes to a mount and those below it, also where its other attributes must not be changed."""
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    text = ctypes.c_char_p(target.encode())
    syscall(_MOUNT_SETATTR, -100, text, _RECURSIVE, ctypes.c_char_p(attributes), len(attributes))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    check_result(load_libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]))
