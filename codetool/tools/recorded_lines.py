"""Read the lines of recordings files, and say what a recorded answer and its position are; see `recordings.py`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codetool.errors import ConfigError, MissingError
from codetool.runs.body_store import Body, BodyStore, read_body
from codetool.runs.bounded_input import iterate_lines, parse_json
from codetool.types import Provenance, ToolAnswer, ToolCall

logger = logging.getLogger(__name__)

RecordedAnswer = tuple[int, Body, Provenance]
"""HTTP status, body, and `recorded` or `simulated`."""


@dataclass(frozen=True, slots=True)
class BoundAnswer:
    """A recorded answer that is bound to its position in one session of a task."""

    task: str
    session: str
    status: int
    body: Body
    failed: bool
    """Whether the outcome of the call is unknown: it was sent, but no answer arrived."""

    def to_answer(self, call: ToolCall) -> ToolAnswer:
        """This recording as the answer to `call`."""
        if self.failed:
            return ToolAnswer(call, self.status, read_body(self.body), None, failure="unreachable")
        return ToolAnswer(call, self.status, read_body(self.body), "recorded")


@dataclass(frozen=True, slots=True)
class RecordedLine:
    """A line of a recordings file; `simulator` is a checksum, `bound` and `after` give its position if it has one."""

    key: str
    url: str
    answer: RecordedAnswer
    simulator: str | None
    after: str = ""
    bound: BoundAnswer | None = None
    is_write: bool = False


def read_lines(file: Path, bodies: BodyStore) -> Iterator[RecordedLine]:
    """The parsed lines of a file in order, their bodies kept in `bodies`. Damaged lines are skipped, with one warning.

    Raises MissingError if the file cannot be read, ConfigError if it holds other records than recorded answers.
    """
    damaged, count, wrong_kind = list[int](), 0, None
    try:
        for number, line in enumerate(iterate_lines(file), 1):
            parsed = _parse_line(line, bodies) if line.strip() else None
            if isinstance(parsed, RecordedLine):
                count += 1
                yield parsed
            elif parsed is not None:
                damaged.append(number)
                wrong_kind = wrong_kind or (number if parsed == "other" else None)
    except OSError as error:
        raise MissingError(
            f"tools.recordings: {file} cannot be read ({error.strerror}): name files written with tools.record_to"
        ) from error
    if wrong_kind and not count:
        raise ConfigError(
            f"tools.recordings: {file} line {wrong_kind} is no recorded answer; expected an object with key, method, "
            "url, arguments, status and body, as tools.record_to writes it"
        )
    if damaged:
        numbers = ", ".join(map(str, damaged[:5])) + (", …" if len(damaged) > 5 else "")
        logger.warning("%s: %d lines are torn or damaged and skipped: line %s", file, len(damaged), numbers)


def _parse_line(line: bytes, bodies: BodyStore) -> RecordedLine | Literal["torn", "other"]:
    """The recorded answer in a line; `torn` if it is no JSON, `other` if it is another record."""
    try:
        record = parse_json(line.decode("utf-8", "replace"))
    except ValueError:
        return "torn"
    try:
        return _parse(record, bodies)
    except (KeyError, TypeError, ValueError, AttributeError):
        return "other"


def _parse(record: Mapping[str, Any], bodies: BodyStore) -> RecordedLine:
    by = record.get("simulator")
    provenance: Provenance = "simulated" if by else "recorded"
    key, url = str(record["key"]), str(record.get("url", ""))
    status, body = int(record["status"]), bodies.keep(str(record["body"]))
    if "session" not in record:
        return RecordedLine(key, url, (status, body, provenance), by)
    bound = BoundAnswer(str(record["task"]), str(record["session"]), status, body, bool(record.get("failure")))
    is_write = record.get("effect") == "write"
    return RecordedLine(key, url, (status, body, provenance), None, str(record["after"]), bound, is_write)
