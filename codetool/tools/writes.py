"""The writes of a task to live services, and the hash of earlier writes that recorded answers are looked up by.

All branches of a search share the service, so a write of one branch remains. A branch's recorded answers are therefore
looked up by the writes on its own path, in order; their hash is the `after` field of a recorded line.
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
    """The writes of one task over all its branches."""

    def __init__(self, task: str) -> None:
        """No writes yet, with a new session id; the same task in a later run is another session."""
        self.task = task
        self.session = secrets.token_hex(8)
        self._answers: list[ToolAnswer] = []
        self._changed: set[str] = set()

    def add(self, answer: ToolAnswer) -> None:
        """Remember an answered call if it is a write that may have reached a service."""
        host = extract_host(answer.call.url)
        if host is None or answer.call.effect != "write" or answer.failure not in (None, "unreachable"):
            return
        self._answers.append(answer)
        if may_have_changed(answer.status):
            self._changed.add(host)

    def select_earlier(self, call: ToolCall, on_branch: Sequence[ToolAnswer] | None) -> tuple[ToolAnswer, ...]:
        """The earlier writes to the call's host on its branch, or of the whole task if `on_branch` is None."""
        host = extract_host(call.url)
        answers = self._answers if on_branch is None else on_branch
        return tuple(answer for answer in answers if extract_host(answer.call.url) == host and _reached_service(answer))

    def has_changed(self, call: ToolCall) -> bool:
        """Whether any branch of the task may have changed the answers of the call's host."""
        return extract_host(call.url) in self._changed


def mark_effects(tools: tuple[Tool, ...], reads: Sequence[str], writes: Sequence[str]) -> tuple[Tool, ...]:
    """The tools, with the effect set of those that `reads` or `writes` name (`POST /search` or `POST_search`)."""
    if not reads and not writes:
        return tools
    marks: dict[str, Effect] = {**dict.fromkeys(reads, "read"), **dict.fromkeys(writes, "write")}
    return tuple(_mark_tool(tool, marks) for tool in tools)


def _mark_tool(tool: Tool, marks: Mapping[str, Effect]) -> Tool:
    mark = marks.get(tool.endpoint) or marks.get(tool.name)
    return replace(tool, effect=mark) if mark else tool


def may_have_changed(status: int) -> bool:
    """Whether a write with this HTTP status may have changed something; only 4xx means that it did not."""
    return not 400 <= status < 500


def hash_earlier_writes(call: ToolCall) -> str:
    """Hash of the earlier writes to the call's host on its branch (16 hex digits); empty if there are none.

    For a read, only writes that may have changed something count; for a write, all answered ones.
    """
    before: Iterable[ToolAnswer] = call.earlier_writes
    if call.effect == "read":
        before = [write for write in before if may_have_changed(write.status)]
    writes = [[compute_call_key(write.call), write.status, write.body] for write in before]
    return hashlib.sha256(json.dumps(writes).encode()).hexdigest()[:16] if writes else ""


def _reached_service(answer: ToolAnswer) -> bool:
    return answer.failure in (None, "unreachable")
