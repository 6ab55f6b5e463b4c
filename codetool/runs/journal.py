"""Append-only JSONL files that survive a kill at any byte.

A record is one line, written by one `write` to an `O_APPEND` descriptor. A kill can tear the last line at most; `read`
ignores such a tail and `Journal` cuts it off before it appends. Processes may append to one file at the same time: each
locks it for as long as a line or the cut takes. Power loss can take the records since the last `sync`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from codetool.errors import ConfigError

Record = Mapping[str, Any]
Shape = Mapping[str, Any]
"""What a record must hold: for each field a type, None, a nested shape, or a tuple of alternatives."""


def encode_record(record: Record) -> bytes:
    """One line of UTF-8 JSON with its newline; equal records give equal bytes.

    Half a surrogate pair, which no UTF-8 can hold, is written as a JSON escape and so read back as it was.
    """
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return line.encode("utf-8", "backslashreplace") + b"\n"


def read_records(path: Path, shape: Shape | None = None) -> Iterator[dict[str, Any]]:
    """The records of a journal in order, a torn last line left out; nothing if there is no such file.

    Raises ConfigError for a whole line that is no JSON object, or that lacks a field of `shape`: somebody else wrote
    to the file.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and line.strip():
                yield decode_record(path, number, line, shape)


def read_latest_records(path: Path, shape: Shape, key: str = "task_id") -> tuple[dict[str, dict[str, Any]], int]:
    """The last record for each value of `key`, and the number of earlier records that these replace."""
    latest: dict[str, dict[str, Any]] = {}
    count = 0
    for record in read_records(path, shape):
        count += 1
        latest.pop(record[key], None)
        latest[record[key]] = record
    return latest, count - len(latest)


def atomic_write(path: Path, content: Iterable[bytes]) -> None:
    """Make `content`, joined, the file's content; a kill leaves the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def filter_records(path: Path, is_kept: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite the file to hold only the wanted records, if it holds any other."""
    if not all(map(is_kept, read_records(path))):
        atomic_write(path, (encode_record(record) for record in read_records(path) if is_kept(record)))


def append_line(path: Path, line: str) -> None:
    """Add one line to a file that several processes extend, in one write, and wait until it is on the disk.

    A torn line before it is closed first. Raises OSError where the line cannot be written whole.
    """
    data = f"{line}\n".encode()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # else a line that another process is writing would look torn
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
        """Name the file; nothing is opened yet."""
        self.path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open the file, created if missing, and cut off a torn last line."""
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
        """Add one record. It survives a kill of this process from here on."""
        self.append_all([record])

    def append_all(self, records: Iterable[Record]) -> None:
        """Add several records with one write. If it is cut short, `read` still returns those written in whole."""
        lines = b"".join(map(encode_record, records))
        with self._locked():
            while lines:
                lines = lines[os.write(self._descriptor, lines) :]

    def sync(self) -> None:
        """Force what was appended to the disk."""
        os.fsync(self._descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from the file: what one of them cuts off must not be a line of ours."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)


def _measure_complete_lines(path: Path) -> int:
    """Size in bytes of the part of the file that ends with its last newline."""
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
    """The record of one line, checked against the shape. `path` and `number` name the line in the ConfigError."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        problem = f"is no JSON object: {line[:80]!r}"
    elif shape is not None and (field := find_mismatch(record, shape)):
        problem = f"is not a record of this file: its field {field!r} is missing or of another type: {line[:80]!r}"
    else:
        return record
    raise ConfigError(
        f"{path}, line {number}, {problem}. "
        "Remove the line (what it told is then done again), or start over in a new folder with fresh=true."
    )


def find_mismatch(value: Any, shape: Any, field: str = "") -> str | None:
    """The dotted name of the first field that does not fit the shape, None if all fit."""
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
