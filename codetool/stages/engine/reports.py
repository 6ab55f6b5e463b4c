"""Messages from a worker to the process that has the run folder. All of them can be pickled.

What a task's attempt reports carries the number of the attempt, so that reports of an attempt that was given up are
recognized. Records travel as lines of JSON: a plug-in's value that JSON does not have fails in its own task.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from logging import LogRecord
from typing import Any

from codetool.stages.spent_journal import Amounts
from codetool.tools.answer_counts import BrokerCounts


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker's components are open."""

    in_force: Mapping[str, str]
    """The layers of its sandbox."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot go on: its components cannot be opened, or something broke that is no task's doing."""

    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The worker has closed its components; it is its last report."""

    answers: BrokerCounts


@dataclass(frozen=True, slots=True)
class Candidates:
    """All candidates of one draw."""

    attempt: int
    lines: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The lines of a finished task, with the counts of its tool calls."""

    attempt: int
    result: bytes
    tree: bytes | None
    calls: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """New tokens of candidates that a search was given."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What models were asked, or how long components were at work."""

    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of services, in the form of `FaultCounts.encode`."""

    counts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SandboxEvents:
    """How often what has happened to the worker's sandbox, since it was opened."""

    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A tool's answer to append to the file of `tools.record_to`."""

    file: str
    line: str


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A message of CodeTool's log."""

    logger: str
    level: int
    text: str
    traceback: str | None

    @classmethod
    def from_record(cls, record: LogRecord) -> LogMessage:
        """Return the message of a log record, formatted."""
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        return cls(record.name, record.levelno, record.getMessage(), trace)

    def to_record(self) -> LogRecord:
        """Return a log record that is written as the original is."""
        record = LogRecord(self.logger, self.level, "", 0, self.text, None, None)
        record.exc_text = self.traceback and self.traceback.rstrip("\n")
        return record


Report = (
    Ready
    | Failed
    | Closed
    | Candidates
    | Finished
    | Work
    | Spent
    | Faults
    | SandboxEvents
    | RecordedAnswer
    | LogMessage
)
