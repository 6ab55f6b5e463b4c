"""Recorded answers: append-only JSONL files, a line an answer, that several processes may extend at once.

A line is `{"key", "method", "url", "arguments", "status", "body", "recorded_at"}`; of lines with one key the last wins.
What a simulator has made up has its checksum as `simulator` and is read only where the same one is at work. A line torn
by a kill is skipped with a warning. All bodies are held in memory.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from codetool.errors import ConfigError, MissingError
from codetool.interfaces import ToolSource
from codetool.tools.canonical import canonical_key
from codetool.types import Provenance, ToolAnswer, ToolCall

logger = logging.getLogger(__name__)

Answered = tuple[int, str, Provenance]
"""Status, body, and whether it is recorded or simulated."""

TRANSIENT = frozenset({401, 403, 407, 408, 425, 429})
"""Statuses below 500 that speak of our key or of the moment, not of the call: never recorded."""


class Recordings:
    """A ToolSource that answers from what files held when they were read and from what was added since."""

    def __init__(self, answers: dict[str, Answered], simulator: str | None = None) -> None:
        """Takes status, body and provenance by canonical key."""
        self._answers = answers
        self._simulator = simulator
        self.asked: dict[str, asyncio.Future[ToolAnswer | None]] = {}
        """The reads that are asked for now, by key: those of an equal call wait for the same answer."""

    @classmethod
    def read(cls, files: Iterable[Path], simulator: str | None = None) -> Recordings:
        """The recordings of these files; a later file wins, and what a service said wins over what was made up.

        `simulator` is the checksum of the one whose answers count. Raises MissingError for a file that is not there.
        """
        said: dict[str, Answered] = {}
        made_up: dict[str, Answered] = {}
        for key, answer, by in (line for file in files for line in _lines(file)):
            if by is None:
                said[key] = answer
            elif by == simulator:
                made_up[key] = answer
        return cls(made_up | said, simulator)

    def __len__(self) -> int:
        return len(self._answers)

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer to an equal call, None where there is none."""
        found = self._answers.get(canonical_key(call))
        return ToolAnswer(call, *found) if found else None

    def add(self, file: Path, answer: ToolAnswer, at: datetime) -> None:
        """Append a live or made-up answer to the file and know it from now on; one not worth keeping is ignored.

        Returns after the line is on the disk. Raises OSError where it cannot be written whole.
        """
        if not is_worth_keeping(answer):
            return
        key, call = canonical_key(answer.call), answer.call
        line = {
            "key": key,
            "method": call.method,
            "url": call.url,
            "arguments": call.arguments,
            "status": answer.status,
            "body": answer.body,
            "recorded_at": at.isoformat(timespec="seconds"),
        }
        made_up = answer.provenance == "simulated"
        append(file, json.dumps(line | ({"simulator": self._simulator} if made_up else {})))
        self._answers[key] = answer.status, answer.body, "simulated" if made_up else "recorded"


class Recorder:
    """A ToolSource that adds the answers of another one to a file. A file that cannot be written costs a warning."""

    def __init__(self, source: ToolSource, recordings: Recordings, file: Path) -> None:
        """Takes the recordings that are to know the answers from now on."""
        self._source = source
        self._recordings = recordings
        self._file = file

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The other source's answer, once it is on the disk. Of equal reads at once one is asked for."""
        if call.effect == "write":
            return await self._answer(call)
        asked = self._recordings.asked
        key = canonical_key(call)
        if key not in asked:
            asked[key] = asyncio.ensure_future(self._answer(call))
            asked[key].add_done_callback(lambda _: asked.pop(key, None))
        return await asyncio.shield(asked[key])  # whoever is cancelled, the others want it still

    async def _answer(self, call: ToolCall) -> ToolAnswer | None:
        answer = await self._source.answer(call)
        if answer is not None:
            try:
                await asyncio.to_thread(self._recordings.add, self._file, answer, datetime.now(UTC))
            except OSError as error:
                logger.warning("tools.record_to: an answer was not recorded: %s", error)
        return answer


def is_worth_keeping(answer: ToolAnswer) -> bool:
    """Whether a later run may be given this answer: the live service's own word on the call, or a simulator's."""
    settled = 200 <= answer.status < 500 and answer.status not in TRANSIENT
    return answer.failure is None and (answer.provenance == "simulated" or (answer.provenance == "live" and settled))


def writable(file: Path) -> Path:
    """The file, made with its folder if it was not there. Raises ConfigError where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise ConfigError(f"tools.record_to: {file} cannot be written ({error.strerror}): name another file") from error
    return file


def append(file: Path, line: str) -> None:
    """Add a line in one write and wait until it is on the disk; a torn line before it is closed first."""
    data = f"{line}\n".encode()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # else a line that another process is writing would look torn
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(descriptor, data) != len(data):
            raise OSError(f"{file}: the disk took only part of a recorded answer")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(file: Path) -> Iterator[tuple[str, Answered, str | None]]:
    """Key and answer of each line, and the checksum of the simulator that made it up."""
    try:
        stream = file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingError(
            f"tools.recordings: {file} cannot be read ({error.strerror}): name files written with tools.record_to"
        ) from error
    with stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield from _record(file, number, line)


def _record(file: Path, number: int, line: str) -> Iterator[tuple[str, Answered, str | None]]:
    try:
        record = json.loads(line)
    except ValueError:
        logger.warning("%s line %d is torn and skipped", file, number)
        return
    try:
        by = record.get("simulator")
        provenance: Provenance = "simulated" if by else "recorded"
        yield str(record["key"]), (int(record["status"]), str(record["body"]), provenance), by
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"tools.recordings: {file} line {number} is no recorded answer; expected an object with key, method, url, "
            "arguments, status and body, as tools.record_to writes it"
        ) from error
