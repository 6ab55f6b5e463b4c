"""Recorded answers: append-only JSONL files, a line an answer, that several processes may extend at once.

A line is `{"key", "method", "url", "arguments", "status", "body", "recorded_at"}`; of lines with one key the last wins.
A write, and a read that only makes sense after a write, has `task`, `session` (of one task in one run), `effect` and
`after` besides, and `failure` if nobody knows what became of it: the digest of the writes before it on its branch (see
`writes.py`). Such lines stand beside each other in their order.
What a simulator has made up has its checksum as `simulator` and is read only where the same one is at work. A line torn
by a kill is skipped with a warning. All bodies are held in memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError, MissingError
from codetool.interfaces import ToolSource
from codetool.runs.journal import append_line
from codetool.tools.allow_list import extract_host
from codetool.tools.call_key import compute_call_key
from codetool.tools.writes import TaskWrites, hash_earlier_writes, may_have_changed
from codetool.types import Provenance, ToolAnswer, ToolCall

logger = logging.getLogger(__name__)

RecordedAnswer = tuple[int, str, Provenance]
"""Status, body, and whether it is recorded or simulated."""

TRANSIENT = frozenset({401, 403, 407, 408, 425, 429})
"""Statuses below 500 that speak of our key or of the moment, not of the call: never recorded."""


@dataclass(frozen=True, slots=True)
class BoundAnswer:
    """A recorded answer that belongs to one place in one session of a task."""

    task: str
    session: str
    status: int
    body: str
    failed: bool
    """Whether nobody knows what became of the call: it was sent, and no answer came."""

    def to_answer(self, call: ToolCall) -> ToolAnswer:
        """The answer to this call."""
        if self.failed:
            return ToolAnswer(call, self.status, self.body, None, failure="unreachable")
        return ToolAnswer(call, self.status, self.body, "recorded")


class Recordings:
    """A ToolSource that answers from what files held when they were read and from what was added since."""

    def __init__(self, answers: dict[str, RecordedAnswer], simulator: str | None = None) -> None:
        """Takes status, body and provenance by canonical key."""
        self._answers = answers
        self._simulator = simulator
        self._bound: dict[tuple[str, str], list[BoundAnswer]] = {}
        self._bound_keys: set[str] = set()
        self._sequence = 0
        self._add_lock = threading.Lock()
        self._read_at: dict[str, int] = {}
        self._written_at: dict[str, int] = {}
        self.pending_reads: dict[str, asyncio.Future[ToolAnswer | None]] = {}
        """The reads that are asked for now, by key: those of an equal call wait for the same answer."""

    @classmethod
    def load(cls, files: Iterable[Path], simulator: str | None = None) -> Recordings:
        """The recordings of these files; a later file wins, and what a service said wins over what was made up.

        `simulator` is the checksum of the one whose answers count. Raises MissingError for a file that is not there.
        """
        recordings = cls({}, simulator)
        made_up: dict[str, RecordedAnswer] = {}
        for line in (line for file in files for line in _read_lines(file)):
            if line.bound:
                recordings._remember_bound(line.key, line.after, line.url, line.bound, is_write=line.is_write)
            elif line.simulator is None:
                recordings._remember(line.key, line.answer)
            elif line.simulator == simulator:
                made_up[line.key] = line.answer
        recordings._answers = made_up | recordings._answers
        return recordings

    def __len__(self) -> int:
        return len(self._answers)

    def checksum(self) -> None:
        """None: the files that were read are checksummed by the run."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer to an equal call, None where there is none."""
        found = self._answers.get(compute_call_key(call))
        return ToolAnswer(call, *found) if found else None

    async def fresh_answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None where there is none or the host has been written to since."""
        written = self._written_at.get(extract_host(call.url) or "", -1)
        return await self.answer(call) if self._read_at.get(compute_call_key(call), 0) > written else None

    def is_bound(self, key: str) -> bool:
        """Whether answers of this key are known with their place in a session."""
        return key in self._bound_keys

    def list_bound(self, place: tuple[str, str]) -> list[BoundAnswer]:
        """The answers of a key after the writes of a digest, in their order."""
        return self._bound.get(place, [])

    def last_write(self, call: ToolCall) -> int:
        """A number that grows with each recorded write to the call's host; -1 before the first."""
        return self._written_at.get(extract_host(call.url) or "", -1)

    def has_writes(self, call: ToolCall) -> bool:
        """Whether a write to the call's host is recorded with its place."""
        return self.last_write(call) >= 0

    def add(self, file: Path, answer: ToolAnswer, at: datetime, writes: TaskWrites | None = None) -> None:
        """Append a live or made-up answer to the file and know it from now on; one not worth keeping is ignored.

        With `writes` the answer belongs to its place in that task's session. Returns after the line is on the disk.
        Raises OSError where it cannot be written whole.
        """
        if is_recordable(answer):
            with self._add_lock:
                self._add(file, answer, at, writes)

    def _add(self, file: Path, answer: ToolAnswer, at: datetime, writes: TaskWrites | None) -> None:
        key, call = compute_call_key(answer.call), answer.call
        line = {
            "key": key,
            "method": call.method,
            "url": call.url,
            "arguments": call.arguments,
            "status": answer.status,
            "body": answer.body,
            "recorded_at": at.isoformat(timespec="seconds"),
        }
        if writes is not None:
            after = hash_earlier_writes(call)
            line |= {"task": writes.task, "session": writes.session, "effect": call.effect, "after": after}
            append(file, json.dumps(line | ({"failure": answer.failure} if answer.failure else {})))
            failed = answer.failure is not None
            bound = BoundAnswer(writes.task, writes.session, answer.status, answer.body, failed)
            self._remember_bound(key, after, call.url, bound, is_write=call.effect == "write")
            return
        made_up = answer.provenance == "simulated"
        append(file, json.dumps(line | ({"simulator": self._simulator} if made_up else {})))
        self._remember(key, (answer.status, answer.body, "simulated" if made_up else "recorded"))

    def _remember(self, key: str, answer: RecordedAnswer) -> None:
        self._sequence += 1
        self._answers[key], self._read_at[key] = answer, self._sequence

    def _remember_bound(self, key: str, after: str, url: str, answer: BoundAnswer, *, is_write: bool) -> None:
        self._sequence += 1
        self._bound.setdefault((key, after), []).append(answer)
        self._bound_keys.add(key)
        host = extract_host(url)
        if is_write and host and may_have_changed(answer.status):
            self._written_at[host] = self._sequence


class RecordingSource:
    """A ToolSource that adds the answers of another one to a file. A file that cannot be written costs a warning."""

    def __init__(
        self, source: ToolSource, recordings: Recordings, file: Path, writes: TaskWrites | None = None
    ) -> None:
        """Takes the recordings that are to know the answers from now on, and the writes of the task that asks.

        Without `writes` every answer is recorded as one that holds at any time, as a simulator's does.
        """
        self._source = source
        self._recordings = recordings
        self._file = file
        self._writes = writes

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The other source's answer, once it is on the disk. Of equal reads at once one is asked for."""
        if call.effect == "write" or self._is_bound_to_session(call):
            return await self._answer(call)
        asked = self._recordings.pending_reads
        key = compute_call_key(call)
        if key not in asked:
            asked[key] = asyncio.ensure_future(self._answer(call))
            asked[key].add_done_callback(lambda _: asked.pop(key, None))
        return await asyncio.shield(asked[key])  # whoever is cancelled, the others want it still

    def checksum(self) -> str | None:
        """The checksum of the wrapped source."""
        return self._source.checksum()

    def _is_bound_to_session(self, call: ToolCall) -> bool:
        """Whether the answer belongs to a place of the task's session: a write, or a read after one."""
        return self._writes is not None and (call.effect == "write" or self._writes.has_changed(call))

    async def _answer(self, call: ToolCall) -> ToolAnswer | None:
        in_place, before = self._is_bound_to_session(call), self._recordings.last_write(call)
        answer = await self._source.answer(call)
        if answer is not None:
            # A read that another task's write has overtaken may show the service before or after it.
            overtaken = self._writes is not None and self._recordings.last_write(call) != before
            writes = self._writes if in_place or overtaken else None
            try:
                await asyncio.to_thread(self._recordings.add, self._file, answer, datetime.now(UTC), writes)
            except OSError as error:
                logger.warning("tools.record_to: an answer was not recorded: %s", error)
        return answer


def is_recordable(answer: ToolAnswer) -> bool:
    """Whether a later run may be given this answer: the live service's own word on the call, or a simulator's.

    Of a live write everything is kept that happened, failures too, but for those that say that it was not sent.
    """
    if answer.call.effect == "write" and answer.failure == "unreachable":
        return True
    if answer.call.effect == "write" and answer.provenance == "live":
        return answer.failure is None
    settled = 200 <= answer.status < 500 and answer.status not in TRANSIENT and not _is_stray_page(answer)
    return answer.failure is None and (answer.provenance == "simulated" or (answer.provenance == "live" and settled))


def _is_stray_page(answer: ToolAnswer) -> bool:
    """Whether it is a page of HTML from an address that no document describes: a proxy's, or a login's."""
    return answer.call.tool is None and answer.body.lstrip()[:15].lower().startswith(("<!doctype html", "<html"))


def ensure_writable(file: Path) -> Path:
    """The file, made with its folder if it was not there. Raises ConfigError where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise ConfigError(f"tools.record_to: {file} cannot be written ({error.strerror}): name another file") from error
    return file


def append(file: Path, line: str) -> None:
    """Add a line and wait until it is on the disk; a torn line before it is closed first."""
    append_line(file, line)


@dataclass(frozen=True, slots=True)
class _RecordedLine:
    """A line of a file: its answer, who made it up if that was a simulator, and its place if it has one."""

    key: str
    url: str
    answer: RecordedAnswer
    simulator: str | None
    after: str = ""
    bound: BoundAnswer | None = None
    is_write: bool = False


def _read_lines(file: Path) -> Iterator[_RecordedLine]:
    """The answers of a file in order; what is torn is skipped."""
    try:
        stream = file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingError(
            f"tools.recordings: {file} cannot be read ({error.strerror}): name files written with tools.record_to"
        ) from error
    with stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield from _read_line(file, number, line)


def _read_line(file: Path, number: int, line: str) -> Iterator[_RecordedLine]:
    try:
        record = json.loads(line)
    except ValueError:
        logger.warning("%s line %d is torn and skipped", file, number)
        return
    try:
        yield _parse(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"tools.recordings: {file} line {number} is no recorded answer; expected an object with key, method, url, "
            "arguments, status and body, as tools.record_to writes it"
        ) from error


def _parse(record: Mapping[str, Any]) -> _RecordedLine:
    by = record.get("simulator")
    provenance: Provenance = "simulated" if by else "recorded"
    key, url = str(record["key"]), str(record.get("url", ""))
    status, body = int(record["status"]), str(record["body"])
    if "session" not in record:
        return _RecordedLine(key, url, (status, body, provenance), by)
    bound = BoundAnswer(str(record["task"]), str(record["session"]), status, body, bool(record.get("failure")))
    is_write = record.get("effect") == "write"
    return _RecordedLine(key, url, (status, body, provenance), None, str(record["after"]), bound, is_write)
