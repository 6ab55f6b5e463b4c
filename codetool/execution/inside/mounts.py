"""Mounts of the sandbox: a read-only root with the interpreter's folders, and a tmpfs for each scratch folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from codetool.execution.inside.kernel import check_result, load_libc, syscall

SCRATCH = "/scratch"
NULL = "/dev/null"

_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH, _NOFOLLOW = 2, 8
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR, _RECURSIVE, _ATTR_RDONLY_NOSUID_NODEV = 442, 0x8000, 0b111
_STAGE = "/proc"  # a mount point that is always there and holds none of the interpreter's files


def list_readable_folders() -> list[str]:
    """The folders that a running interpreter needs: its library, its packages, the system's shared libraries."""
    paths = sysconfig.get_paths()
    candidates = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    candidates += ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo"]
    candidates += [sysconfig.get_config_var("LIBDIR") or "/usr/lib"]
    real = {path for path in candidates if Path(path).is_dir() and not Path(path).is_symlink()}
    return sorted(path for path in real if not any(path.startswith(f"{other}/") for other in real))


def build_root(readable: Sequence[str], masked: Iterable[str]) -> None:
    """Replace the root of this mount namespace; folders in `masked` appear empty. Raises OSError."""
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", _STAGE, "tmpfs", _NOSUID | _NODEV, "mode=755,size=4m")
    stage = Path(_STAGE)
    for path in readable:
        _bind(path, stage)
    for path in masked:
        if (stage / path.lstrip("/")).is_dir():
            _mount("tmpfs", f"{_STAGE}{path}", "tmpfs", _RDONLY | _NOSUID | _NODEV, "mode=755,size=4k")
    for link in ("/lib", "/lib64"):
        if Path(link).is_symlink():
            (stage / link[1:]).symlink_to(Path(link).readlink())
    (stage / "dev").mkdir()
    (stage / NULL[1:]).touch()
    _mount(NULL, f"{_STAGE}{NULL}", None, _BIND)
    (stage / SCRATCH[1:]).mkdir()
    os.chdir(_STAGE)
    syscall(_PIVOT_ROOT[os.uname().machine], ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    check_result(load_libc().umount2(b".", _DETACH))
    os.chdir("/")
    _mount("tmpfs", SCRATCH, "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=1777,size=4m,nr_inodes=100000")
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def mount_scratch(folder: str, size: int, files: int) -> None:
    """Mount a tmpfs of `size` bytes and `files` entries at `folder` (relative to SCRATCH).

    No part of the path may be a symbolic link, because its owner may be hostile. Raises OSError.
    """
    *parents, name = Path(folder).parts
    above = [parents.pop()] if parents else []  # the folder of branches in the parent's
    _enter(SCRATCH, *parents)
    try:
        _make_and_enter(*above, name)
    except OSError:  # the parent's code has used up its entries; enlarge its file system
        _enter(SCRATCH, *parents)
        _mount(None, ".", None, _REMOUNT | _NOSUID | _NODEV | _NOEXEC, f"size={2 * size},nr_inodes={2 * files}")
        _make_and_enter(*above, name)
    _mount("tmpfs", ".", "tmpfs", _NOSUID | _NODEV | _NOEXEC, f"size={size},nr_inodes={files},mode=700")
    os.chdir("/")


def unmount_scratch(folder: str) -> None:
    """Remove a folder made by `mount_scratch` and its contents. Raises OSError."""
    _enter(SCRATCH, *Path(folder).parent.parts)
    name = Path(folder).name
    check_result(load_libc().umount2(name.encode(), _DETACH | _NOFOLLOW))
    Path(name).rmdir()
    os.chdir("/")


def _make_and_enter(*parts: str) -> None:
    for part in parts:
        with contextlib.suppress(FileExistsError):
            Path(part).mkdir(mode=0o700)
        _enter(part)


def _enter(*parts: str) -> None:
    """Change into one folder after the other without following symbolic links."""
    for part in parts:
        opened = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.chdir(opened)
        finally:
            os.close(opened)


def _bind(path: str, stage: Path) -> None:
    target = stage / path.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    _mount(path, str(target), None, _BIND | _REC)
    attributes = struct.pack("=QQQQ", _ATTR_RDONLY_NOSUID_NODEV, 0, 0, 0)
    text = ctypes.c_char_p(str(target).encode())
    syscall(_MOUNT_SETATTR, -100, text, _RECURSIVE, ctypes.c_char_p(attributes), len(attributes))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    check_result(load_libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]))
