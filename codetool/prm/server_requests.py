"""Parse and validate the bodies of requests to a PRM server; an invalid one is refused with one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.requests import ClientDisconnect, Request

from codetool.prompts.messages import Message

IGNORE_EXTRA = ConfigDict(extra="ignore")  # the reference's clients may send more than is read
CONTENT_TOO_LARGE = 413
DISCONNECTED = 499
"""What nginx's logs call a client that left; nobody reads it as an answer."""

MAX_MESSAGES = 128
"""Messages that a chat may have; a PRM's prompt has two."""

SHORT_REASONS = {"missing": "missing", "too_short": "empty"}
"""Pydantic's errors that are said in a word."""


class RequestRefusedError(Exception):
    """A request that is not served: its status and why, in one sentence."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None, *, score: float | None = None) -> None:
        """`score` is the number that clients of `/generate` are given; None where there is nothing to score."""
        super().__init__(reason)
        self.status, self.score = status, score
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


@dataclass(frozen=True, config=IGNORE_EXTRA)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str


Chat = Annotated[list[_Message], Field(min_length=1, max_length=MAX_MESSAGES)]


def _to_messages(messages: Sequence[_Message]) -> list[Message]:
    return [{"role": message.role, "content": message.content} for message in messages]


@dataclass(frozen=True, config=IGNORE_EXTRA)
class GenerateRequest:
    """One chat to score, as the reference's clients send it."""

    messages: Chat
    index: Any = None
    """The client's own number for it, which the answer does not repeat."""

    @property
    def chats(self) -> list[list[Message]]:
        """The one chat."""
        return [_to_messages(self.messages)]


@dataclass(frozen=True, config=IGNORE_EXTRA)
class ScoreRequest:
    """Chats to score."""

    messages: Annotated[list[Chat], Field(min_length=1)]

    @property
    def chats(self) -> list[list[Message]]:
        """The chats in order."""
        return [_to_messages(messages) for messages in self.messages]


T = TypeVar("T", GenerateRequest, ScoreRequest)


async def parse_request(request: Request, kind: type[T], most: int) -> T:
    """What the body says. Raises Refused if it cannot be read, or has more than `most` bytes.

    A body that announces a larger size is refused before it is read, one that does not as soon as it is larger.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large_error(most)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise _too_large_error(most)
    except ClientDisconnect as error:
        raise RequestRefusedError(DISCONNECTED, "the client left") from error
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        raise _explain_validation_error(error) from error


def _too_large_error(most: int) -> RequestRefusedError:
    return RequestRefusedError(
        CONTENT_TOO_LARGE, f"the body has more than {most} bytes, the most that is read", score=0.0
    )


def _explain_validation_error(error: ValidationError) -> RequestRefusedError:
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Input ")
    if first["type"] == "json_invalid":
        return RequestRefusedError(400, f"the body is no JSON: {first['ctx']['error']}")
    where = ".".join(map(str, first["loc"])) or "the body"
    if first["type"] in SHORT_REASONS:
        return RequestRefusedError(422, f"{where} is {SHORT_REASONS[first['type']]}")
    if first["type"] == "too_long":
        return RequestRefusedError(
            CONTENT_TOO_LARGE, f"{where} has more than {MAX_MESSAGES} messages, the most of a chat"
        )
    given = first["input"]
    shown = repr(given)[:60] if isinstance(given, str | int | float | bool | None) else type(given).__name__
    return RequestRefusedError(422, f"{where}={shown}: {reason[0].lower()}{reason[1:]}")
