"""The tool calls of one step: asked once, also if the step is run several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codetool.execution.channel import ClosedError
from codetool.execution.kept_calls import KeptCalls, StoredCall, digest_request, keep_answer, keep_write
from codetool.interfaces import CallTool
from codetool.types import HttpRequest, ToolAnswer


@dataclass(frozen=True, slots=True)
class _Call:
    """An answered call: what runs the step again, what is recorded of it, and what later writes have to know of it."""

    stored: StoredCall
    kept: ToolAnswer
    write: ToolAnswer | None


class StepCalls:
    """The calls of a step whose process may be ended by something else, so that the step has to be run again."""

    def __init__(self, call_tool: CallTool, kept_calls: KeptCalls, writes: Sequence[ToolAnswer]) -> None:
        """`writes` are the answered writes of the steps before, oldest first."""
        self._call_tool, self._kept_calls, self._writes_before = call_tool, kept_calls, tuple(writes)
        self._calls: list[_Call] = []
        self._earlier: list[_Call] = []
        """Calls of earlier attempts that this attempt has not made yet."""

    @property
    def stored(self) -> tuple[StoredCall, ...]:
        """The calls, for running the step again."""
        return tuple(call.stored for call in self._calls)

    @property
    def answers(self) -> tuple[ToolAnswer, ...]:
        """The answers, as they are recorded."""
        return tuple(call.kept for call in self._calls)

    @property
    def writes(self) -> tuple[ToolAnswer, ...]:
        """The answered writes of the steps before and of this one, oldest first."""
        return (*self._writes_before, *(call.write for call in self._calls if call.write is not None))

    def begin_attempt(self) -> None:
        """Begin to run the step, for the first time or again."""
        self._earlier, self._calls = [*self._calls, *self._earlier], []

    async def answer(self, request: HttpRequest) -> ToolAnswer:
        """Answer a call of the step: as in an earlier attempt, or by the tool."""
        index = find_call([call.stored for call in self._earlier], request)
        if index is not None:
            call = self._earlier.pop(index)
            self._calls.append(call)
            return replace(call.kept, body=self._kept_calls.load(call.stored).body)
        answer = await self._call_tool(replace(request, earlier_writes=self.writes))
        write = keep_write(answer) if answer.call.effect == "write" else None
        stored = self._kept_calls.store(request, answer)
        answer = replace(answer, call=self._kept_calls.keep_call(answer.call))
        self._calls.append(_Call(stored, keep_answer(answer), write))
        return answer


def replay_calls(calls: Sequence[StoredCall], kept_calls: KeptCalls) -> CallTool:
    """A `call_tool` that returns a step's recorded answers: that of an equal request, else the next in order."""
    remaining = list(calls)

    async def answer(request: HttpRequest) -> ToolAnswer:
        if not remaining:
            raise ClosedError("a step of its path asked for more tools than the first time")
        return kept_calls.load(remaining.pop(find_call(remaining, request) or 0))

    return answer


def find_call(calls: Sequence[StoredCall], request: HttpRequest) -> int | None:
    """Index of the first call that was an equal request, None if there is none."""
    if not calls:
        return None
    digest = digest_request(request)
    return next((index for index, call in enumerate(calls) if call.digest == digest), None)
