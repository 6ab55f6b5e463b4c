"""Select recorded answers for one task: skip answers made stale by a write, and replay writes in order."""

from __future__ import annotations

from collections import Counter

from codetool.interfaces import ToolSource
from codetool.tools.call_key import compute_call_key
from codetool.tools.recorded_lines import BoundAnswer
from codetool.tools.recordings import Recordings
from codetool.tools.writes import TaskWrites, hash_earlier_writes
from codetool.types import ToolAnswer, ToolCall


class FreshRecordings:
    """A ToolSource of mode live: recorded reads, unless a later write to their host is recorded."""

    def __init__(self, recordings: Recordings) -> None:
        """Takes the run's recordings."""
        self._recordings = recordings

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None if there is none or a later write to its host is recorded."""
        return await self._recordings.fresh_answer(call)

    def checksum(self) -> str | None:
        """None: the run computes the checksum of the recordings files itself."""
        return None


class UnchangedHostSource:
    """A ToolSource of mode live: asks another source only for reads of hosts that the task has not changed."""

    def __init__(self, source: ToolSource, writes: TaskWrites) -> None:
        """Takes the source and the task's writes, which are checked for each call."""
        self._source = source
        self._writes = writes

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The source's answer; None for a write, which is always sent, and for a read of a changed host."""
        if call.effect == "write" or self._writes.has_changed(call):
            return None
        return await self._source.answer(call)

    def checksum(self) -> str | None:
        """None: the answers of a live service are not known in advance."""
        return None


class ReplaySource:
    """A ToolSource of all modes but live: replays recordings, with writes in their recorded order.

    A write is looked up by the earlier writes on its branch. Equal writes of several branches are returned one after
    the other, and a further one is a miss. A read after writes gets an answer that was read after the same writes,
    never one that was read before them.
    """

    def __init__(self, recordings: Recordings, writes: TaskWrites) -> None:
        """Takes the run's recordings and the task's writes."""
        self._recordings = recordings
        self._writes = writes
        self._served_counts: Counter[tuple[str, str]] = Counter()

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None if there is none."""
        position = compute_call_key(call), hash_earlier_writes(call)
        if call.effect == "write":
            if not self._recordings.is_bound(position[0]):
                return await self._recordings.answer(call)  # recorded without a position, or simulated
            return self._next_answer(call, position)
        if not position[1] or not self._recordings.has_writes(call):
            recorded = await self._recordings.answer(call)
            if recorded is not None:
                return recorded
        return self._next_answer(call, position, repeat=True)

    def checksum(self) -> str | None:
        """None: the run computes the checksum of the recordings files itself."""
        return None

    def _next_answer(self, call: ToolCall, position: tuple[str, str], *, repeat: bool = False) -> ToolAnswer | None:
        """The next answer at a position; with `repeat` the last answer is repeated."""
        answers = self._select_session(self._recordings.list_bound(position))
        if not answers:
            return None  # nothing is counted, since a program may make any number of different calls
        number = self._served_counts[position]
        self._served_counts[position] += 1
        if repeat:
            number = min(number, len(answers) - 1)
        return answers[number].to_answer(call) if 0 <= number < len(answers) else None

    def _select_session(self, answers: list[BoundAnswer]) -> list[BoundAnswer]:
        """The answers of this task's last recorded session, else of the last session of any task."""
        own = [answer for answer in answers if answer.task == self._writes.task] or answers
        return [answer for answer in own if answer.session == own[-1].session]
