"""Append-only JSONL files that survive a kill at any byte.

A record is one line, written by one `write` to an `O_APPEND` descriptor. A kill can tear the last line only;
`read_records` ignores it and `Journal` cuts it off before it appends. Several processes may append to one file: each
locks it while it writes or cuts off a line. A power failure can lose the records since the last `sync`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codetool.errors import ConfigError
from codetool.runs.bounded_input import MAX_LINE_BYTES, iterate_lines, parse_json

Record = Mapping[str, Any]
Shape = Mapping[str, Any]
"""Required fields of a record: for each a type, None, a nested shape, or a tuple of alternatives."""


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
    for number, line in enumerate(read_lines(path), start=1):
        if line.endswith(b"\n") and line.strip():
            yield decode_record(path, number, line, shape)


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
    """Replace a file's content; a kill leaves the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def filter_records(path: Path, is_kept: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite the file without the records that `is_kept` rejects, if there are any."""
    if not all(map(is_kept, read_records(path))):
        atomic_write(path, (encode_record(record) for record in read_records(path) if is_kept(record)))


def append_line(path: Path, line: str) -> None:
    """Add one line to a file that several processes extend, in one write, and wait until it is on disk.

    A torn line before it is ended first. Raises OSError if the line cannot be written completely.
    """
    data = f"{line}\n".encode()
    if len(data) > MAX_LINE_BYTES:
        raise OSError(errno.EFBIG, f"a line of {len(data):,} bytes is longer than {MAX_LINE_BYTES:,} bytes", str(path))
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # otherwise a line that another process is writing would look torn
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{path}: the disk took only part of a line")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """A JSONL file open for appending; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Store the path; the file is not opened yet."""
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open or create the file and cut off a torn last line."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with self._locked():
            os.ftruncate(self._descriptor, _measure_complete_lines(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._descriptor)

    def append(self, record: Record) -> None:
        """Append one record. It survives a kill of this process afterwards."""
        self.append_all([record])

    def append_all(self, records: Iterable[Record]) -> None:
        """Append several records with one write. If it is cut short, `read_records` returns the complete ones."""
        lines = b"".join(map(encode_record, records))
        with self._locked():
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]

    def sync(self) -> None:
        """Flush appended records to the disk."""
        os.fsync(self._descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the file, so that no other process cuts off a line that this one is writing."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


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
    try:
        record, problem = parse_json(line), "is no JSON object"
    except ValueError as error:
        record, problem = None, f"is no JSON object ({error})"
    if not isinstance(record, dict):
        problem = f"{problem}: {line[:80]!r}"
    elif shape is not None and (field := find_mismatch(record, shape)):
        problem = f"is not a record of this file: its field {field!r} is missing or of another type: {line[:80]!r}"
    else:
        return record
    raise ConfigError(
        f"{path}, line {number}, {problem}. "
        "Remove the line (what it told is then done again), or start over in a new folder with fresh=true."
    )


def find_mismatch(value: Any, shape: Any, field: str = "") -> str | None:
    """Return the dotted name of the first field that does not match the shape, None if all match."""
    if isinstance(shape, tuple):
        problems = [find_mismatch(value, alternative, field) for alternative in shape]
        return None if None in problems else max(map(str, problems), key=len)
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return field
        names = ((name, f"{field}.{name}" if field else name) for name in shape)
        missing = object()
        mismatches = (find_mismatch(value.get(name, missing), shape[name], field_path) for name, field_path in names)
        return next((problem for problem in mismatches if problem is not None), None)
    fits = value is None if shape is None else isinstance(value, shape)
    return None if fits else field
