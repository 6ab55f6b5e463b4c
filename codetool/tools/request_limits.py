"""Limits on what one tool request, and all requests of one task, may hold. A request above a limit is refused.

The limits protect the host's memory and the run's files from generated code; services refuse such requests as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from codetool.types import HttpRequest, ToolAnswer

MAX_METHOD_CHARS = 20
"""Maximum length of a request's method."""
MAX_URL_CHARS = 8_000
"""Maximum length of a URL: the length that every server should support (RFC 9110, 4.1)."""
MAX_BODY_BYTES = 64_000
"""Maximum size of a request's body in UTF-8; it holds arguments, and the sandbox passes it on as one message."""
MAX_HEADER_BYTES = 16_000
"""Maximum size of a request's headers, names and values together, in UTF-8: more than common servers accept."""
MAX_TASK_BYTES = 50_000_000
"""Maximum size of all requests and answers of one task in bytes."""
SHOWN_URL_CHARS = 200
"""Length to which the URL of a refused request is cut in messages and records."""


def find_excess(request: HttpRequest) -> str | None:
    """What makes a request too large, as a message for the policy; None if it is within all limits."""
    if len(request.method) > MAX_METHOD_CHARS:
        return f"the method is longer than the {MAX_METHOD_CHARS} characters that are sent"
    if len(request.url) > MAX_URL_CHARS:
        return f"the URL is longer than the {MAX_URL_CHARS:,} characters that are sent"
    if _measure_body(request) > MAX_BODY_BYTES:
        return f"the body is larger than the {MAX_BODY_BYTES:,} bytes that are sent"
    if _measure_headers(request) > MAX_HEADER_BYTES:
        return f"the headers are larger than the {MAX_HEADER_BYTES:,} bytes that are sent"
    return None


def shorten(text: str, limit: int = SHOWN_URL_CHARS) -> str:
    """The text, cut to `limit` characters with an ellipsis at the end."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _measure_body(request: HttpRequest) -> int:
    """Size of a request's body in bytes of UTF-8."""
    return len((request.body or "").encode("utf-8", "replace"))


def _measure_headers(request: HttpRequest) -> int:
    return sum(len(part.encode("utf-8", "replace")) for pair in request.headers for part in pair)


@dataclass(slots=True)
class TaskUsage:
    """What one task has used of its tools so far."""

    max_calls: int
    """Maximum number of calls, refused ones included."""
    calls: int = 0
    bytes: int = 0
    """Size of all requests and answers so far."""

    def find_exhausted(self) -> str | None:
        """Which limit is used up, as a message for the policy; None if another call may be made."""
        if self.calls >= self.max_calls:
            return f"this task's budget of {self.max_calls} tool calls is spent"
        if self.bytes >= MAX_TASK_BYTES:
            return f"this task's budget of {MAX_TASK_BYTES:,} bytes of requests and answers is spent"
        return None

    def count(self, request: HttpRequest, answer: ToolAnswer) -> None:
        """Add the size of an answered request."""
        self.bytes += len(request.url) + len(request.body or "") + len(answer.body)
