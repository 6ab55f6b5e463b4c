"""What a task has written at live services, and what its recorded answers say after that.

Branches of a search share the service: what one of them writes stays written. What a branch is told from a recording is
therefore found by the writes on its own path, in order; their digest is the `after` of a recorded line.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from codetool.tools.allow_list import extract_host
from codetool.tools.call_key import compute_call_key
from codetool.types import Effect, Tool, ToolAnswer, ToolCall


class TaskWrites:
    """The writes of one task over all of its branches."""

    def __init__(self, task: str) -> None:
        """Nothing written yet, under a fresh session id: the same task in a later run is another session."""
        self.task = task
        self.session = secrets.token_hex(8)
        self._answers: list[ToolAnswer] = []
        self._changed: set[str] = set()

    def add(self, answer: ToolAnswer) -> None:
        """Take note of an answered call; only a write that reached a service counts."""
        host = extract_host(answer.call.url)
        if host is None or answer.call.effect != "write" or answer.failure not in (None, "unreachable"):
            return
        self._answers.append(answer)
        if may_have_changed(answer.status):
            self._changed.add(host)

    def select_earlier(self, call: ToolCall, on_branch: Sequence[ToolAnswer] | None) -> tuple[ToolAnswer, ...]:
        """The writes to the call's host among those on its branch; of the whole task where branches are not known."""
        host = extract_host(call.url)
        answers = self._answers if on_branch is None else on_branch
        return tuple(answer for answer in answers if extract_host(answer.call.url) == host and _reached_service(answer))

    def has_changed(self, call: ToolCall) -> bool:
        """Whether any branch of the task may have changed what the call's host answers."""
        return extract_host(call.url) in self._changed


def mark_effects(tools: tuple[Tool, ...], reads: Sequence[str], writes: Sequence[str]) -> tuple[Tool, ...]:
    """The tools, those that `reads` or `writes` name (`POST /search` or `POST_search`) marked so."""
    if not reads and not writes:
        return tools
    marks: dict[str, Effect] = {**dict.fromkeys(reads, "read"), **dict.fromkeys(writes, "write")}
    return tuple(_mark_tool(tool, marks) for tool in tools)


def _mark_tool(tool: Tool, marks: Mapping[str, Effect]) -> Tool:
    mark = marks.get(tool.endpoint) or marks.get(tool.name)
    return replace(tool, effect=mark) if mark else tool


def may_have_changed(status: int) -> bool:
    """Whether a write with this status may have changed something: only 4xx says that it was not carried out."""
    return not 400 <= status < 500


def hash_earlier_writes(call: ToolCall) -> str:
    """A name for what the call's branch has written before at its host; empty where that is nothing.

    A read is told apart by the writes that may have changed something, a write by all that were answered.
    """
    before: Iterable[ToolAnswer] = call.earlier_writes
    if call.effect == "read":
        before = [write for write in before if may_have_changed(write.status)]
    told = [[compute_call_key(write.call), write.status, write.body] for write in before]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16] if told else ""


def _reached_service(answer: ToolAnswer) -> bool:
    return answer.failure in (None, "unreachable")
