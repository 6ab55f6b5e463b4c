"""Read files, JSON and YAML of unknown origin in bounded memory: no devices, pipes, endless lines or deep nesting.

A file that cannot be read within the limits raises OSError, like a missing one, so that callers report both alike.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import yaml

MAX_FILE_BYTES = 2**30
"""Maximum size of a file that is read as a whole."""
MAX_LINE_BYTES = 64 * 2**20
"""Maximum size of a line of a JSONL file, written or read. The largest trees of real runs have a few MB."""
MAX_JSON_DEPTH = 100
"""Maximum nesting depth of JSON; deeper values break functions that call themselves for each level."""
MAX_JSON_VALUES = 4_000_000
"""Maximum number of values in one JSON text, counted by commas and brackets; each takes about 60 bytes of memory."""


class TooLargeError(ValueError):
    """JSON or YAML is nested too deeply or stands for too many values."""


class LineTooLongError(OSError):
    """A line of a file is longer than `MAX_LINE_BYTES`."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.EFBIG, f"line {number} is longer than {MAX_LINE_BYTES:,} bytes")
        self.number = number


def open_regular_file(path: Path) -> IO[bytes]:
    """Open a file for reading. Raises OSError, without waiting, if it is a device, a pipe or a socket."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a file. Raises OSError if it is no regular file or has more than `max_bytes`."""
    with open_regular_file(path) as file:
        content = file.read(max_bytes + 1) if os.fstat(file.fileno()).st_size <= max_bytes else None
    if content is None or len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes:,} bytes", str(path))
    return content


def read_text(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the UTF-8 text of a file. Raises OSError like `read_bytes`, UnicodeDecodeError for other bytes."""
    return read_bytes(path, max_bytes).decode("utf-8-sig")


def iterate_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file with their newlines. Raises LineTooLongError, and OSError for no regular file."""
    with open_regular_file(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise LineTooLongError(number)
            yield line


def parse_json(
    text: str | bytes | bytearray, max_depth: int = MAX_JSON_DEPTH, *, max_values: int = MAX_JSON_VALUES
) -> Any:
    """Parse JSON. Raises ValueError if it is malformed, too deep, or holds too many values or too long a number."""
    openers = _count(text, "[") + _count(text, "{")
    if openers + _count(text, ",") > max_values:
        raise TooLargeError(f"it holds more than {max_values:,} values")
    try:
        value = json.loads(text)
    except RecursionError:
        raise TooLargeError("it is nested too deeply") from None
    if openers > max_depth and is_deep(value, max_depth):
        raise TooLargeError(f"it is nested deeper than {max_depth} levels")
    return value


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader, max_values: int = MAX_JSON_VALUES) -> Any:
    """Parse YAML. Raises ValueError if it is malformed, too deep, or its anchors stand for too many values."""
    if text.count("[") + text.count("{") + text.count("\n") > max_values:
        raise TooLargeError(f"it holds more than {max_values:,} values")
    try:
        value = yaml.load(text, loader)  # noqa: S506 - a safe loader
    except RecursionError:
        raise TooLargeError(f"it is nested deeper than {MAX_JSON_DEPTH} levels") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if _count_values(value, {}, 0) > max_values:
        raise TooLargeError(f"its anchors stand for more than {max_values:,} values")
    return value


def _count_values(value: Any, counts: dict[int, int], depth: int) -> int:
    """The number of values, with a value counted wherever an alias repeats it. Raises ValueError if it is too deep."""
    if not isinstance(value, dict | list):
        return 1
    if depth >= MAX_JSON_DEPTH:
        raise TooLargeError(f"it is nested deeper than {MAX_JSON_DEPTH} levels, or holds itself")
    if id(value) not in counts:
        children = value.values() if isinstance(value, dict) else value
        counts[id(value)] = 1 + sum(_count_values(child, counts, depth + 1) for child in children)
    return counts[id(value)]


def is_deep(value: Any, levels: int = MAX_JSON_DEPTH) -> bool:
    """Return whether lists and dicts are nested deeper than this number of levels."""
    parents = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        children = (parent.values() if isinstance(parent, dict) else parent for parent in parents)
        parents = [child for group in children for child in group if isinstance(child, dict | list)]
        if not parents:
            return False
    return bool(parents)


def _count(text: str | bytes | bytearray, character: str) -> int:
    return text.count(character) if isinstance(text, str) else text.count(character.encode())
