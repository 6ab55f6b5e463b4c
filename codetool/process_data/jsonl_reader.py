"""Find, read and validate JSONL files that users name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from codetool.errors import ConfigError, MissingError
from codetool.runs.bounded_input import iterate_lines

T = TypeVar("T")
HOW_TO_MEND = "Run the command that wrote it again, with fresh=true if need be, or name another file"


def read_records(paths: Sequence[Path], name: str, kind: TypeAdapter[T]) -> list[T]:
    """Return the records of all files in order; a folder stands for the file `name` in it.

    Raises MissingError for a missing or empty file, and ConfigError for a line that is not a valid record of `kind`.
    """
    return [record for path in paths for record in _read_file(_find_file(path, name), kind)]


def _find_file(path: Path, name: str) -> Path:
    file = path / name if path.is_dir() else path
    if file.is_file():
        return file
    if path.is_dir():
        raise MissingError(f"{path} holds no {name}. Name a folder that stage=collect has written, or the file itself.")
    raise MissingError(f"{path} is not there. Name a {name}, or a folder of stage=collect that holds one.")


def _read_file(file: Path, kind: TypeAdapter[T]) -> Iterator[T]:
    count = 0
    try:
        for number, line in enumerate(iterate_lines(file), start=1):
            if line.strip():
                count += 1
                yield _parse_line(file, number, line, kind)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    if not count:
        raise MissingError(f"{file} is empty. {HOW_TO_MEND}.")


def _parse_line(file: Path, number: int, line: bytes, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field_path = ".".join(map(str, first["loc"]))
        reason = f"{field_path + ': ' if field_path else ''}{first['msg']}"
        raise ConfigError(f"{file}, line {number}: {reason}. {HOW_TO_MEND}.") from error
