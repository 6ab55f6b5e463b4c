"""Append-only JSONL files that survive a kill at any byte.

A record is one line, written by one `write` to an `O_APPEND` descriptor. A kill can tear the last line only;
`read_records` ignores it and `Journal` cuts it off before it appends. A line that the disk takes only in part is cut
off at once. Several processes may append to one file: each locks it while it writes or cuts off a line. The lock is on
the open file that is written to: filelock opens a path once more, where another file may be meanwhile. A
power failure can lose the records since the last `sync`. `damaged_lines.py` repairs journals that something else has
damaged.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from codetool.errors import ConfigError
from codetool.runs.bounded_input import MAX_LINE_BYTES, iterate_lines, parse_json
from codetool.runs.file_lock import lock_exclusively, unlock
from codetool.runs.record_shape import Shape, find_mismatch
from codetool.runs.write_errors import explain_write_errors

Record = Mapping[str, Any]


def encode_record(record: Record) -> bytes:
    """Encode a record as one line of UTF-8 JSON; equal records give equal bytes.

    Half a surrogate pair, which no UTF-8 can hold, is written as a JSON escape and read back unchanged.
    Raises ValueError for a record that is longer than a line may be.
    """
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"its record of {len(line):,} bytes is longer than a line may be, {MAX_LINE_BYTES:,} bytes")
    return line


def read_records(path: Path, shape: Shape | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a journal in order, without a torn last line; nothing if the file does not exist.

    Raises ConfigError for a complete line that is not a JSON object or lacks a field of `shape`.
    """
    for number, line in read_complete_lines(path):
        yield decode_record(path, number, line, shape)


def read_complete_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each line that is neither blank nor torn, under the rules of `read_lines`."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.endswith(b"\n") and line.strip():
            yield number, line


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a journal; nothing if the file does not exist.

    Raises ConfigError for a line above `MAX_LINE_BYTES`, and for anything but a regular file.
    """
    try:
        yield from iterate_lines(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Remove the line or the file, or start over in a new folder with "
            "fresh=true."
        ) from error


def read_latest_records(path: Path, shape: Shape, key: str = "task_id") -> tuple[dict[str, dict[str, Any]], int]:
    """Return the last record for each value of `key`, and the number of earlier records that they replace."""
    latest: dict[str, dict[str, Any]] = {}
    count = 0
    for record in read_records(path, shape):
        count += 1
        latest.pop(record[key], None)
        latest[record[key]] = record
    return latest, count - len(latest)


def atomic_write(path: Path, content: Iterable[bytes]) -> None:
    """Replace a file's content; a kill leaves the old file or the new one, never a part.

    The content is written to a file `NAME.new` first. It is removed if that fails, and locked, since two commands may
    write the same file, such as a report. Raises WriteError if the file cannot be written.
    """
    temporary = path.with_name(path.name + ".new")
    with explain_write_errors(path), _open_alone(temporary) as file:
        try:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    _sync_folder(path.parent)


@contextmanager
def _open_alone(path: Path) -> Iterator[IO[bytes]]:
    """Open an empty file for writing once no other process has it open; an earlier process may have left a part."""
    while True:
        with path.open("ab") as file:  # not "wb", which would empty a file that another process writes
            lock_exclusively(file)
            if _is_at(path, file):
                file.truncate(0)
                yield file
                return


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Return whether the open file is still the one at the path; another process may have renamed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a renamed file keeps its name after a power failure."""
    with suppress(OSError):  # not every file system can
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Add one line to a file that several processes extend, in one write, and wait until it is on disk.

    A torn line before it is ended first. Raises WriteError, with the file as it was, if the line cannot be written
    completely.
    """
    data = f"{line}\n".encode()
    if len(data) > MAX_LINE_BYTES:
        raise OSError(errno.EFBIG, f"a line of {len(data):,} bytes is longer than {MAX_LINE_BYTES:,} bytes", str(path))
    with explain_write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            lock_exclusively(descriptor)  # otherwise a line that another process is writing would look torn
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            _write_or_undo(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_or_undo(descriptor: int, data: bytes) -> None:
    """Append data to a locked file. If the file cannot take all of it, none of it is left."""
    size = os.fstat(descriptor).st_size
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except BaseException:
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


class Journal:
    """A JSONL file open for appending; use it as a context manager. Its methods raise WriteError."""

    def __init__(self, path: Path) -> None:
        """Store the path; the file is not opened yet."""
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open or create the file and cut off a torn last line."""
        with explain_write_errors(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                with self._locked():
                    os.ftruncate(self._descriptor, _measure_complete_lines(self.path))
            except BaseException:
                os.close(self._descriptor)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._descriptor)

    def append(self, record: Record) -> None:
        """Append one record. It survives a kill of this process afterwards."""
        self.append_all([record])

    def append_all(self, records: Iterable[Record]) -> None:
        """Append several records with one write. If it is killed, `read_records` returns the complete ones.

        Raises WriteError, with none of them appended, if the file cannot take all, or if it has been removed, since
        what is appended to a removed file is lost.
        """
        lines = b"".join(map(encode_record, records))
        with explain_write_errors(self.path), self._locked():
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            _write_or_undo(self._descriptor, lines)

    def sync(self) -> None:
        """Flush appended records to the disk."""
        with explain_write_errors(self.path):
            os.fsync(self._descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file, so that no other process cuts off a line that this one is writing."""
        lock_exclusively(self._descriptor)
        try:
            yield
        finally:
            unlock(self._descriptor)


def _measure_complete_lines(path: Path) -> int:
    """Return the size in bytes of the file up to and with its last newline."""
    end = path.stat().st_size
    with path.open("rb") as file:
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def decode_record(path: Path, number: int, line: bytes, shape: Shape | None = None) -> dict[str, Any]:
    """Decode one line and check it against the shape. A ConfigError names the line by `path` and `number`."""
    record = parse_record(line, shape)
    if isinstance(record, str):
        raise ConfigError(
            f"{path}, line {number}, {record}. Run the command of this folder again, which sets the line aside and "
            "does its work anew, or start over in a new folder with fresh=true."
        )
    return record


def parse_record(line: bytes, shape: Shape | None = None) -> dict[str, Any] | str:
    """Return the record in a line, or what is wrong with the line as the rest of a sentence."""
    try:
        record, problem = parse_json(line), "is no JSON object"
    except ValueError as error:
        record, problem = None, f"is no JSON object ({error})"
    if not isinstance(record, dict):
        return f"{problem}: {line[:80]!r}"
    if shape is not None and (field := find_mismatch(record, shape)):
        return f"is not a record of this file: its field {field!r} is missing or of another type: {line[:80]!r}"
    return record
