"""Download files once, check their sha256, and put them in place by a rename: complete or not at all.

This is not left to pooch: it would replace the request, the sha256 and the rename, forty lines, but not what users see
of them: an unknown host is reported within two seconds, a silent or broken connection, another file and a full disk
have messages of their own, all with the steps by hand, and the first writable one of several folders is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx

from codetool.errors import CodeToolError, MissingError, UnreachableError
from codetool.http.reachability import check_host

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0  # until the next bytes


def find_cache_folder() -> Path:
    """Return the default folder of downloads: `CODETOOL_CACHE`, else `~/.cache/codetool`."""
    configured = os.environ.get("CODETOOL_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "codetool"


def list_data_folders(folder: Path | None, setting: str) -> list[Path]:
    """Return the folders in which a data file is looked for: the one of a setting, if it is set, and the cache.

    Raises MissingError if the setting, whose default is the variable CODETOOL_DATA, names no folder.
    """
    if folder is not None and not folder.is_dir():
        source = "CODETOOL_DATA" if os.environ.get("CODETOOL_DATA") == str(folder) else setting
        raise MissingError(f"{source}={folder} is no folder. Make it, name another, or leave it unset.")
    return [*([folder] if folder else []), find_cache_folder() / "data"]


def compute_sha256(file: Path) -> str:
    """Return the hex sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder, one process at a time. Raises MissingError if it cannot be written to."""
    from filelock import FileLock  # here: its import takes 0.1 s, and files are rarely missing

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise MissingError(f"The cache folder {folder} cannot be written: {error}. Set CODETOOL_CACHE.") from error
    try:
        yield
    finally:
        lock.release()


def ensure_file(name: str, url: str, sha256: str | None, folders: Sequence[Path], *, manual_steps: str) -> Path:
    """Return the named file from the first folder that has it, else download it to the first writable folder.

    A file without a known `sha256` is taken as it comes, so its URL should name a commit. Raises UnreachableError, or
    MissingError for any other reason; the message names the URL, the target and then `manual_steps`, advice for the
    user.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    target = _find_writable_target([folder / name for folder in folders])
    try:
        check_host(url)
        download(url, sha256, target)
    except (CodeToolError, httpx.HTTPError, OSError) as error:
        reason = _describe_error(error).removeprefix(f"{url}: ")
        raise _get_error_type(error)(f"{url}\ncould not be downloaded to {target}: {reason}\n{manual_steps}") from error
    return target


def hide_password(text: str) -> str:
    """Return the text without user names and passwords in its URLs."""
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)


def download(url: str, sha256: str | None, target: Path) -> None:
    """Download a file to `target`, completely or not at all, and compare its sha256 if that is known.

    Raises MissingError for another file or status, httpx.HTTPError for a lost connection, OSError for a full disk.
    """
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            _write_response(url, target, stream)
            stream.flush()
            os.fsync(handle)
        actual_sha256 = compute_sha256(Path(temporary))
        if sha256 is not None and actual_sha256 != sha256:
            raise MissingError(f"what came is another file: its sha256 is {actual_sha256}, not {sha256}.")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _write_response(url: str, target: Path, stream: BinaryIO) -> None:
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as response:
        if response.status_code != httpx.codes.OK:
            raise MissingError(f"the server answered {response.status_code} {response.reason_phrase}.")
        size = int(response.headers.get("content-length", 0))
        progress = _ProgressLine(f"downloading {hide_password(url)} to {target}", size)
        try:
            for chunk in response.iter_bytes():
                stream.write(chunk)
                progress.update(response.num_bytes_downloaded)
        finally:
            progress.close()


class _ProgressLine:
    """Progress line on standard error; on a terminal with the percentage downloaded."""

    def __init__(self, message: str, size: int) -> None:
        self._words, self._size = message, size
        self._live = sys.stderr.isatty() and size > 0
        sys.stderr.write(message)
        sys.stderr.flush()

    def update(self, count: int) -> None:
        if self._live:
            sys.stderr.write(f"\r{self._words} {100 * count // self._size} %")
            sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\n")


def _describe_error(error: Exception) -> str:
    """Describe a download error for the user."""
    if isinstance(error, httpx.TimeoutException):
        return "the server stayed silent."
    if isinstance(error, httpx.ConnectError):
        return "the connection was refused."
    if isinstance(error, httpx.RemoteProtocolError | httpx.NetworkError):
        return "the connection was lost on the way."
    return str(error)


def _get_error_type(error: Exception) -> type[CodeToolError]:
    if isinstance(error, CodeToolError):
        return type(error)
    return UnreachableError if isinstance(error, httpx.HTTPError) else MissingError


def _find_writable_target(targets: Sequence[Path]) -> Path:
    for target in targets:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=target.parent).close()
        except OSError:
            continue
        return target
    tried = ", ".join(str(target.parent) for target in targets)
    raise MissingError(f"no folder to download to can be written: {tried}. Set CODETOOL_DATA or CODETOOL_CACHE.")
