"""Recorded answers as one task may be given them: what is stale after a write, and writes in their order."""

from __future__ import annotations

from collections import Counter

from codetool.interfaces import ToolSource
from codetool.tools.call_key import compute_call_key
from codetool.tools.recordings import BoundAnswer, Recordings
from codetool.tools.writes import TaskWrites, hash_earlier_writes
from codetool.types import ToolAnswer, ToolCall


class FreshRecordings:
    """A ToolSource of mode live: recorded reads that no write to their host has followed in the recordings."""

    def __init__(self, recordings: Recordings) -> None:
        """Takes the recordings of the run."""
        self._recordings = recordings

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None where there is none or the host has been written to since."""
        return await self._recordings.fresh_answer(call)

    def checksum(self) -> str | None:
        """None: the files that were read are checksummed by the run."""
        return None


class UnchangedHostSource:
    """A ToolSource of mode live: a source of known answers, for reads of hosts that the task has not changed yet."""

    def __init__(self, source: ToolSource, writes: TaskWrites) -> None:
        """Takes the writes of the task, which are looked at anew for each call."""
        self._source = source
        self._writes = writes

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The known answer; None for a write, which always goes out, and for a read of a host that was written to."""
        if call.effect == "write" or self._writes.has_changed(call):
            return None
        return await self._source.answer(call)

    def checksum(self) -> str | None:
        """None: what a live service will answer is not known beforehand."""
        return None


class ReplaySource:
    """A ToolSource of every other mode: what was recorded, writes in the order in which they happened.

    A write is found by the writes before it on its branch; equal ones of several branches are given out one after the
    other. One that is asked for more often than it happened is a miss. A read after a write is answered by what was
    read after the same writes, never by what was read before them.
    """

    def __init__(self, recordings: Recordings, writes: TaskWrites) -> None:
        """Takes the recordings of the run and the writes of the task."""
        self._recordings = recordings
        self._writes = writes
        self._served_counts: Counter[tuple[str, str]] = Counter()

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer, None where there is none."""
        place = compute_call_key(call), hash_earlier_writes(call)
        if call.effect == "write":
            if not self._recordings.is_bound(place[0]):
                return await self._recordings.answer(call)  # from a file without the order of writes, or made up
            return self._next_answer(call, place)
        if not place[1] or not self._recordings.has_writes(call):
            known = await self._recordings.answer(call)
            if known is not None:
                return known
        return self._next_answer(call, place, repeat=True)

    def checksum(self) -> str | None:
        """None: the files that were read are checksummed by the run."""
        return None

    def _next_answer(self, call: ToolCall, place: tuple[str, str], *, repeat: bool = False) -> ToolAnswer | None:
        """The next answer of the place; with `repeat` the last one again and again."""
        answers = self._select_session(self._recordings.list_bound(place))
        number = self._served_counts[place]
        self._served_counts[place] += 1
        if repeat:
            number = min(number, len(answers) - 1)
        return answers[number].to_answer(call) if 0 <= number < len(answers) else None

    def _select_session(self, answers: list[BoundAnswer]) -> list[BoundAnswer]:
        """Those of the last session of this task that has any, else of the last session at all."""
        own = [answer for answer in answers if answer.task == self._writes.task] or answers
        return [answer for answer in own if answer.session == own[-1].session]
