"""What the host keeps of a task's tool calls: enough to record them and to run their steps again, in bounded memory.

The body of an answer is needed only to run a step again, so bodies beyond a small amount lie in a temporary file. A
call's URL and arguments are kept as they are until they add up to `MAX_KEPT_BYTES`, which no honest program reaches;
later calls keep their method and host only. Two equal requests have the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from codetool.runs.body_store import Body, BodyStore, read_body
from codetool.types import JSON, HttpRequest, ToolAnswer, ToolCall

MAX_ARGUMENT_CHARS = 8_000
"""Maximum size of a call's arguments as JSON that are kept; larger ones are left out, and their size is kept."""
MAX_KEPT_BYTES = 400_000
"""Maximum size of the URLs and arguments that are kept of one task's calls, with `CALL_BYTES` for each call."""
CALL_BYTES = 300
"""Approximate memory of a kept call in addition to its texts."""
MAX_BODY_CHARS, MAX_FAILED_BODY_CHARS = 20, 2_000
"""Number of characters kept of the body of an answered and of a failed call."""
MAX_BODY_CHARS_IN_MEMORY = 32_000
"""Number of characters of all bodies together that one task keeps in memory; further ones lie in a temporary file."""
MAX_WRITE_BODY_CHARS = 4_000
"""Length above which the body of a write's answer is replaced by its digest, which identifies it as well."""
CUT_MARK = "…"
"""Name of the argument that says what was left out of a call."""


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A tool call of an executed step: the request's digest, and its answer."""

    digest: bytes
    status: int
    body: Body


class KeptCalls:
    """The kept calls of one task over all branches of its search tree. Bodies are freed with it and its calls."""

    def __init__(self) -> None:
        self._kept_bytes = 0
        self._bodies = BodyStore(MAX_BODY_CHARS_IN_MEMORY)
        self._cut_calls: dict[tuple[str, str, str], ToolCall] = {}

    def keep_call(self, call: ToolCall) -> ToolCall:
        """The call as it is kept for records and metrics: without its request, and cut if it is too large."""
        size = len(json.dumps(call.arguments, default=str))
        arguments = call.arguments
        if size > MAX_ARGUMENT_CHARS:
            arguments, size = _describe_arguments(call.arguments, size), 100
        if self._kept_bytes + CALL_BYTES + size + len(call.url) > MAX_KEPT_BYTES:
            return self._cut_call(call)
        self._kept_bytes += CALL_BYTES + size + len(call.url)
        return replace(call, arguments=arguments, request=None, earlier_writes=())

    def _cut_call(self, call: ToolCall) -> ToolCall:
        """A call with method, host and effect only; equal ones are one object."""
        parts = urlsplit(call.url)
        key = (call.method, f"{parts.scheme}://{parts.netloc[:100]}/{CUT_MARK}", call.effect)
        if key not in self._cut_calls:
            if len(self._cut_calls) >= 100:
                return next(iter(self._cut_calls.values()))
            note = f"this task's calls are longer than {MAX_KEPT_BYTES} bytes; the rest of this one is not kept"
            self._cut_calls[key] = ToolCall(call.method, key[1], {CUT_MARK: note})
        return self._cut_calls[key]

    def store(self, request: HttpRequest, answer: ToolAnswer) -> StoredCall:
        """Keep an answer, for running its step again."""
        return StoredCall(digest_request(request), answer.status, self._bodies.keep(answer.body))

    def load(self, stored: StoredCall) -> ToolAnswer:
        """The answer to a stored call, with the status and the body that the step received."""
        return ToolAnswer(ToolCall("", "", {}), stored.status, read_body(stored.body), "recorded")


def digest_request(request: HttpRequest) -> bytes:
    """A digest of everything that a step can tell a tool: method, URL, body and headers."""
    parts = json.dumps([request.method, request.url, request.body, request.headers])
    return hashlib.blake2b(parts.encode(), digest_size=16).digest()


def keep_answer(answer: ToolAnswer) -> ToolAnswer:
    """The answer with the beginning of its body only; error messages quote that of a failed call."""
    return replace(answer, body=answer.body[: MAX_BODY_CHARS if answer.ok else MAX_FAILED_BODY_CHARS])


def keep_write(answer: ToolAnswer) -> ToolAnswer:
    """The answer to a write as later calls need it: its call without the request, and a digest of a long body."""
    body = answer.body
    if len(body) > MAX_WRITE_BODY_CHARS:
        body = f"sha256:{hashlib.sha256(body.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return replace(answer, body=body, call=replace(answer.call, request=None, earlier_writes=()))


def _describe_arguments(arguments: Mapping[str, JSON], size: int) -> Mapping[str, JSON]:
    names = ", ".join(name[:30] for name in list(arguments)[:5])
    return {CUT_MARK: f"{len(arguments)} arguments of {size} characters are not kept: {names}"}
