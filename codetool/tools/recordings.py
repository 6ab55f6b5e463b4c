"""Recorded tool answers: append-only JSONL files that several processes may extend at the same time.

A line is `{"key", "method", "url", "arguments", "status", "body", "recorded_at"}`; the last line of a key wins.

A write, and a read that follows a write on its branch, is bound to its position: it also has `task`, `session` (one
task in one run), `effect`, `after` (hash of the earlier writes on its branch, see `writes.py`), and `failure` if the
outcome is unknown. Bound lines of the same key and hash do not override each other; their order is kept.

A simulated answer has the checksum of its simulator as `simulator`, and is read only with the same simulator. A line
torn by a kill is skipped with a warning. Bodies are held in memory or in a temporary file, see `runs/body_store.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from codetool.errors import ConfigError, WriteError
from codetool.interfaces import ToolSource
from codetool.runs.body_store import BodyStore, read_body
from codetool.runs.journal import append_line
from codetool.tools.allow_list import extract_host
from codetool.tools.call_key import compute_call_key
from codetool.tools.recorded_lines import BoundAnswer, RecordedAnswer, read_lines
from codetool.tools.writes import TaskWrites, hash_earlier_writes, may_have_changed
from codetool.types import ToolAnswer, ToolCall

logger = logging.getLogger(__name__)


MAX_CHARS_IN_MEMORY = 8 * 2**20
"""Number of characters of all recorded bodies together that are kept in memory."""
TRANSIENT = frozenset({401, 403, 407, 408, 425, 429})
"""Statuses below 500 that depend on the key or on the moment, not on the call; never recorded."""

_recorder: ContextVar[Callable[[Path, str], None] | None] = ContextVar("recorder_of_answers", default=None)


class Recordings:
    """A ToolSource that answers from recordings files and from the answers added since they were read."""

    def __init__(self, answers: dict[str, RecordedAnswer], simulator: str | None = None) -> None:
        """Takes the recorded answers by call key, and the checksum of the simulator in use, if any."""
        self._answers = answers
        self._bodies = BodyStore(MAX_CHARS_IN_MEMORY)
        self._simulator = simulator
        self._bound: dict[tuple[str, str], list[BoundAnswer]] = {}
        self._bound_keys: set[str] = set()
        self._sequence = 0
        self._add_lock = threading.Lock()
        self._read_at: dict[str, int] = {}
        self._written_at: dict[str, int] = {}
        self.is_failing = False
        """Whether the last answer could not be recorded, which is said once until one is recorded again."""
        self.pending_reads: dict[str, asyncio.Future[ToolAnswer | None]] = {}
        """Reads in progress by call key; concurrent equal reads wait for the same answer."""

    @classmethod
    def load(cls, files: Iterable[Path], simulator: str | None = None) -> Recordings:
        """Load these files; a later file overrides an earlier one, and recorded answers override simulated ones.

        Simulated answers are loaded only from the simulator with the checksum `simulator`. Raises MissingError if a
        file does not exist.
        """
        recordings = cls({}, simulator)
        simulated: dict[str, RecordedAnswer] = {}
        for line in (line for file in files for line in read_lines(file, recordings._bodies)):
            if line.bound:
                recordings._remember_bound(line.key, line.after, line.url, line.bound, is_write=line.is_write)
            elif line.simulator is None:
                recordings._remember(line.key, line.answer)
            elif line.simulator == simulator:
                simulated[line.key] = line.answer
        recordings._answers = simulated | recordings._answers
        return recordings

    def __len__(self) -> int:
        return len(self._answers)

    def checksum(self) -> None:
        """None: the run computes the checksum of the recordings files itself."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer to an equal call, None if there is none."""
        recorded = self._answers.get(compute_call_key(call))
        if recorded is None:
            return None
        status, body, provenance = recorded
        return ToolAnswer(call, status, read_body(body), provenance)

    async def fresh_answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None if there is none or a later write to its host is recorded."""
        written = self._written_at.get(extract_host(call.url) or "", -1)
        return await self.answer(call) if self._read_at.get(compute_call_key(call), 0) > written else None

    def is_bound(self, key: str) -> bool:
        """Whether there are answers of this key that are bound to a position in a session."""
        return key in self._bound_keys

    def list_bound(self, position: tuple[str, str]) -> list[BoundAnswer]:
        """The bound answers of a position (call key, hash of the earlier writes), in recorded order."""
        return self._bound.get(position, [])

    def last_write(self, call: ToolCall) -> int:
        """Sequence number of the last recorded write to the call's host; -1 if there is none."""
        return self._written_at.get(extract_host(call.url) or "", -1)

    def has_writes(self, call: ToolCall) -> bool:
        """Whether a bound write to the call's host is recorded."""
        return self.last_write(call) >= 0

    def add(self, file: Path, answer: ToolAnswer, at: datetime, writes: TaskWrites | None = None) -> None:
        """Append a live or simulated answer to the file and to these recordings, unless it is not recordable.

        With `writes` the answer is bound to its position in that task's session. Returns after the line is on disk.
        Raises WriteError if the line cannot be written completely.
        """
        if is_recordable(answer):
            with self._add_lock:
                self._add(file, answer, at, writes)

    def _add(self, file: Path, answer: ToolAnswer, at: datetime, writes: TaskWrites | None) -> None:
        key, call = compute_call_key(answer.call), answer.call
        body = self._bodies.keep(answer.body)
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
            bound = BoundAnswer(writes.task, writes.session, answer.status, body, failed)
            self._remember_bound(key, after, call.url, bound, is_write=call.effect == "write")
            return
        simulated = answer.provenance == "simulated"
        append(file, json.dumps(line | ({"simulator": self._simulator} if simulated else {})))
        self._remember(key, (answer.status, body, "simulated" if simulated else "recorded"))

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
    """A ToolSource that appends the answers of another source to a file; failing to write it logs a warning."""

    def __init__(
        self, source: ToolSource, recordings: Recordings, file: Path, writes: TaskWrites | None = None
    ) -> None:
        """Takes the recordings to add the answers to, and the writes of the calling task.

        Without `writes` every answer is recorded without a position, as a simulator's answers are.
        """
        self._source = source
        self._recordings = recordings
        self._file = file
        self._writes = writes

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The wrapped source's answer, after it has been recorded. Concurrent equal reads share one request."""
        if call.effect == "write" or self._is_bound_to_session(call):
            return await self._answer(call)
        pending = self._recordings.pending_reads
        key = compute_call_key(call)
        if key not in pending:
            pending[key] = asyncio.ensure_future(self._answer(call))
            pending[key].add_done_callback(lambda _: pending.pop(key, None))
        return await asyncio.shield(pending[key])  # one cancelled caller must not cancel the others' answer

    def checksum(self) -> str | None:
        """The checksum of the wrapped source."""
        return self._source.checksum()

    def _is_bound_to_session(self, call: ToolCall) -> bool:
        """Whether the answer is bound to a position of the task's session: a write, or a read after a write."""
        return self._writes is not None and (call.effect == "write" or self._writes.has_changed(call))

    async def _answer(self, call: ToolCall) -> ToolAnswer | None:
        bound, last_write = self._is_bound_to_session(call), self._recordings.last_write(call)
        answer = await self._source.answer(call)
        if answer is not None:
            # If another task wrote during this read, the answer may show the state before or after that write.
            overtaken = self._writes is not None and self._recordings.last_write(call) != last_write
            writes = self._writes if bound or overtaken else None
            try:
                await asyncio.to_thread(self._recordings.add, self._file, answer, datetime.now(UTC), writes)
            except (OSError, WriteError) as error:
                if not self._recordings.is_failing:
                    logger.warning(
                        "tools.record_to: an answer was not recorded, and others may not be either until that is "
                        "mended: %s",
                        error,
                    )
                self._recordings.is_failing = True
            else:
                self._recordings.is_failing = False
        return answer


def is_recordable(answer: ToolAnswer) -> bool:
    """Whether a later run may get this answer: a settled answer of the live service, or a simulated one.

    Live writes are recorded with any outcome, including failures after the write was sent.
    """
    if answer.call.effect == "write" and answer.failure == "unreachable":
        return True
    if answer.call.effect == "write" and answer.provenance == "live":
        return answer.failure is None
    settled = 200 <= answer.status < 500 and answer.status not in TRANSIENT and not _is_stray_page(answer)
    return answer.failure is None and (answer.provenance == "simulated" or (answer.provenance == "live" and settled))


def _is_stray_page(answer: ToolAnswer) -> bool:
    """Whether it is an HTML page of a proxy or a login: from an undocumented URL, or with an error status."""
    return (answer.call.tool is None or answer.status >= 400) and answer.body.lstrip()[:15].lower().startswith(
        ("<!doctype html", "<html")
    )


def ensure_writable(file: Path) -> Path:
    """Create the file and its folder if needed, and return it. Raises ConfigError if it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise ConfigError(f"tools.record_to: {file} cannot be written ({error.strerror}): name another file") from error
    return file


def open_record_file(file: Path) -> list[Path]:
    """Return the file to record to, created if needed, as a list of files to read.

    Where another process records, it is read if it is there, and not created. Raises ConfigError if it cannot be
    written.
    """
    if _recorder.get() is None:
        return [ensure_writable(file)]
    return [file] if file.is_file() else []


@contextmanager
def record_elsewhere(record: Callable[[Path, str], None]) -> Iterator[None]:
    """Pass lines and the files they belong to on while the context is open, instead of appending them.

    A worker on another machine so leaves the file to the process that has it.
    """
    token = _recorder.set(record)
    try:
        yield
    finally:
        _recorder.reset(token)


def append(file: Path, line: str) -> None:
    """Append a line and wait until it is on disk; a torn line before it is terminated first."""
    (_recorder.get() or append_line)(file, line)
