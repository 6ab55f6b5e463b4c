"""Remove a folder that generated code filled, whatever it holds."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_folder(path: str) -> None:
    """Remove a folder with all it holds; what cannot be removed is left.

    Subfolders are moved up before they are emptied, so that no nesting is too deep for the stack or for a path. Code
    that still runs can lead nowhere else: every folder is opened without following symbolic links.
    """
    with contextlib.suppress(OSError):
        top = os.open(path, _OPEN_FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        Path(path).rmdir()


def _empty(top: int) -> None:
    pending = _empty_folder(top, top)
    while pending:
        name = pending.pop()
        with contextlib.suppress(OSError):
            folder = _open(name, top)
            try:
                pending += _empty_folder(folder, top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _empty_folder(folder: int, top: int) -> list[str]:
    """Remove the files of an open folder and move its subfolders to the folder `top`; their names there."""
    moved = []
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):
                os.close(_open(name, folder))
                target = secrets.token_hex(16)  # generated code cannot have used this name
                os.rename(name, target, src_dir_fd=folder, dst_dir_fd=top)
                moved.append(target)
    return moved


def _open(name: str, folder: int) -> int:
    """Open a subfolder, after giving its owner all rights to it if that is needed."""
    reached = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.chmod(f"/proc/self/fd/{reached}", 0o700)  # noqa: PTH101  (a link to the open folder)
    finally:
        os.close(reached)
    return os.open(name, _OPEN_FOLDER, dir_fd=folder)
