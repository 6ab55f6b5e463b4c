"""Turn an OSError of writing a run's file into one message that names the file, the reason and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codetool.errors import WriteError

_MAKE_WRITABLE = "Make it writable, or name another folder with outputs=FOLDER"
_WAS_REMOVED = "It, or its folder, was removed while the command used it"
_WHEN_REMOVED = "The same command makes anew what is missing"
ADVICE = {
    errno.ENOSPC: "Make room on the disk",
    errno.EDQUOT: "Make room in your disk quota",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EROFS: _MAKE_WRITABLE,
    errno.EACCES: _MAKE_WRITABLE,
    errno.EPERM: _MAKE_WRITABLE,
    errno.ENOENT: _WAS_REMOVED,
    errno.ENOTDIR: _WAS_REMOVED,
    errno.ESTALE: _WAS_REMOVED,
    errno.EISDIR: "Remove this folder, which has the name of a file",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
}
"""What to do about an error, by its number."""


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Raise WriteError instead of an OSError of the context, which writes the file `path`."""
    try:
        yield
    except OSError as error:
        raise WriteError(describe_write_error(path, error)) from error


def describe_write_error(path: Path, error: OSError) -> str:
    """Return the message for an OSError of writing `path`."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and (file := _find_file_above(path)) is not None:
        return f"{path} cannot be written: {file} is a file. Remove it, or name another folder."
    reason = os.strerror(error.errno) if error.errno else str(error)
    advice = ADVICE.get(error.errno or 0, "Check the disk")
    outlook = _WHEN_REMOVED if advice is _WAS_REMOVED else "What is finished is kept, and the same command continues"
    return f"{path} cannot be written: {reason}. {advice}. {outlook}."


def _find_file_above(path: Path) -> Path | None:
    """Return what is a file where `path` needs a folder; None if nothing is."""
    return next((each for each in (path, *path.parents) if os.path.isfile(each)), None)  # noqa: PTH113
