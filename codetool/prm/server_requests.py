"""Parse and validate the bodies of requests to a PRM server; an invalid one is refused with one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.requests import ClientDisconnect, Request

from codetool.credentials.masking import mask_text
from codetool.http.request_body import BodyRefusedError, read_request_body
from codetool.prompts.messages import Message

IGNORE_EXTRA = ConfigDict(extra="ignore")  # the reference's clients may send more than is read
CONTENT_TOO_LARGE = 413
DISCONNECTED = 499
"""Status (nginx's) that is counted for a client that disconnected; it is never received."""

MAX_VALUES = 500_000
"""Maximum number of objects and lists in a body, each of which takes several hundred bytes; braces of texts count."""
MAX_MESSAGES = 128
"""Maximum number of messages of a chat; a PRM's prompt has two."""

SHORT_REASONS = {"missing": "missing", "too_short": "empty"}
"""One-word descriptions of some of Pydantic's error types."""


class RequestRefusedError(Exception):
    """A request is refused, with an HTTP status and the reason in one sentence."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None, *, score: float | None = None) -> None:
        """Store the status; `retry_after` is in seconds, `score` is what `/generate` returns as the score, if any."""
        super().__init__(reason)
        self.status, self.score = status, score
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


@dataclass(frozen=True, config=IGNORE_EXTRA)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str


Chat = Annotated[list[_Message], FailFast(), Field(min_length=1, max_length=MAX_MESSAGES)]


def _to_messages(messages: Sequence[_Message]) -> list[Message]:
    return [{"role": message.role, "content": message.content} for message in messages]


@dataclass(frozen=True, config=IGNORE_EXTRA)
class GenerateRequest:
    """Request of `/generate`: one chat to score, in the format of the reference implementation."""

    messages: Chat
    index: Any = None
    """The client's number of the chat; it is ignored."""

    @property
    def chats(self) -> list[list[Message]]:
        """A list of the single chat."""
        return [_to_messages(self.messages)]


@dataclass(frozen=True, config=IGNORE_EXTRA)
class ScoreRequest:
    """Request of `/score`: one or more chats to score."""

    messages: Annotated[list[Chat], FailFast(), Field(min_length=1)]

    @property
    def chats(self) -> list[list[Message]]:
        """The chats, in order."""
        return [_to_messages(messages) for messages in self.messages]


T = TypeVar("T", GenerateRequest, ScoreRequest)


async def parse_request(request: Request, kind: type[T], max_bytes: int) -> T:
    """Return the parsed request body. Raises RequestRefusedError if it is invalid or has more than `max_bytes` bytes.

    If the Content-Length is larger, the body is not read; otherwise reading stops once the limit is exceeded.
    """
    try:
        body = await read_request_body(request, max_bytes)
    except BodyRefusedError as error:
        raise RequestRefusedError(error.status, str(error), score=0.0) from error
    except ClientDisconnect as error:
        raise RequestRefusedError(DISCONNECTED, "the client left") from error
    if body.count(b"{") + body.count(b"[") > MAX_VALUES:
        raise RequestRefusedError(CONTENT_TOO_LARGE, f"the body has more than {MAX_VALUES:,} objects and lists")
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        raise _explain_validation_error(error) from error


def _explain_validation_error(error: ValidationError) -> RequestRefusedError:
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Input ")
    if first["type"] == "json_invalid":
        return RequestRefusedError(400, f"the body is no JSON: {first['ctx']['error']}")
    field_path = ".".join(map(str, first["loc"])) or "the body"
    if first["type"] in SHORT_REASONS:
        return RequestRefusedError(422, f"{field_path} is {SHORT_REASONS[first['type']]}")
    if first["type"] == "too_long":
        return RequestRefusedError(
            CONTENT_TOO_LARGE, f"{field_path} has more than {MAX_MESSAGES} messages, the most of a chat"
        )
    value = first["input"]
    value_text = type(value).__name__
    if isinstance(value, str | int | float | bool | None):
        value_text = mask_text(repr(value[:1000] if isinstance(value, str) else value))[:60]
    return RequestRefusedError(422, f"{field_path}={value_text}: {reason[0].lower()}{reason[1:]}")
