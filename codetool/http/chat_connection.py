"""Connection to one chat server through `openai.AsyncOpenAI`: each request is sent once, responses are dictionaries.

openai does not raise errors inside a success, and its models drop unknown fields, so the raw response is parsed here.
openai takes 0.4 s to import and is imported when a connection is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from json import loads
from typing import Any, Self, cast

import httpx

from codetool.credentials.masking import MIN_SECRET_CHARS, list_spellings, mask_json
from codetool.http import token_requests
from codetool.http.answer_deadline import answer_deadline
from codetool.http.bounded_body import release_stream
from codetool.http.chat_response import ListedModel, parse_model_list
from codetool.http.endpoint import Endpoint
from codetool.http.errors_in_success import check_response
from codetool.http.fault_counts import classify_body, classify_transport_error
from codetool.http.http_client import open_http_client
from codetool.http.reachability import check_url
from codetool.http.retry import RetryableError
from codetool.http.server_error import ServerError, parse_error, parse_error_body
from codetool.http.stream import assemble_completion

CONNECT_SECONDS = 5.0
ANSWER_TIMEOUTS, STREAM_TIMEOUTS = 2, 10
"""Time-outs within which an answer, or a streamed answer, must be complete; the first byte must come within one."""
UNREADABLE = (ValueError, RecursionError, TypeError, AttributeError, LookupError)
"""What parsing raises for content that is no chat completion."""


class ServerTimeoutError(RetryableError):
    """The server sent nothing within the time-out, or its answer was not complete in time."""


class NoModelListError(RetryableError):
    """The server answered the request for its models with something else, as some servers always do."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """Response that reports an error, with its headers."""

    error: ServerError
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "error_object"
    """Kind of fault: `status_503` for an HTTP status, `error_object` for an error inside a success."""


class ChatConnection:
    """Open connection to a chat server; an asynchronous context manager."""

    def __init__(self, server: Endpoint, key: str | None) -> None:
        """Take the endpoint, and the key that is sent with every request."""
        self._endpoint, self._key = server, key
        self._spellings = list_spellings(key) if key and len(key) >= MIN_SECRET_CHARS else ()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises UnreachableError for an unknown host, ConfigError for a wrong address or proxy."""
        url = await check_url(self._endpoint.base_url)
        from openai import AsyncOpenAI

        self.http = await self._stack.enter_async_context(
            open_http_client(
                url,
                self._key,
                concurrency=self._endpoint.concurrency,
                timeout=_make_timeout(self._endpoint.timeout),
            )
        )
        client: Any = self.http  # openai's types name its own HTTP library; it takes httpx's client as well
        self._openai = AsyncOpenAI(
            api_key="added by the transport",
            base_url=str(url.copy_with(query=None)),
            default_query=dict(url.params),
            max_retries=0,
            http_client=client,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._stack.aclose()

    async def send(self, sent: Mapping[str, Any], timeout: float) -> dict[str, Any] | ErrorResponse:
        """Send one chat request and return the response. Raises RetryableError without a response in JSON.

        A server that repeats the key in its texts does not get it into files: `[secret]` stands in its place.
        The first byte must come within `timeout` seconds, and the last within a few times as many.
        """
        limit = min(CONNECT_SECONDS, timeout) + timeout * (
            STREAM_TIMEOUTS if self._endpoint.stream else ANSWER_TIMEOUTS
        )
        try:
            async with answer_deadline(limit):
                return await self._send(sent, timeout)
        except TimeoutError as error:
            raise ServerTimeoutError(f"the answer was not complete after {limit:g} s", kind="slow_body") from error

    async def _send(self, sent: Mapping[str, Any], timeout: float) -> dict[str, Any] | ErrorResponse:
        import openai

        body = {**sent, **self._endpoint.extra_body}
        tokens = self._endpoint.encode_prompt and self._endpoint.encode_prompt(sent["messages"])
        stream = self._endpoint.stream and not tokens
        try:
            raw = await self._create(
                token_requests.make_body(body, tokens) if tokens else body, timeout, stream, tokens
            )
            response: httpx.Response = raw.http_response
            if stream and "json" not in response.headers.get("content-type", ""):
                content = await _assemble(raw)
            else:
                data = await response.aread()
                release_stream(response)
                content = _decode(data)
        except openai.APIStatusError as error:
            return _parse_error_response(error.response)
        except openai.APIConnectionError as error:
            raise _to_retryable_error(error.__cause__ or error) from error
        except openai.APIError as error:  # an event of a stream
            return ErrorResponse(parse_error({"error": error.body or str(error)}))
        except httpx.RequestError as error:
            raise _to_retryable_error(error) from error
        answer = _check_content(token_requests.to_chat_response(content) if tokens else content)
        if isinstance(answer, ServerError):
            return ErrorResponse(answer, response.headers)
        return cast(dict[str, Any], mask_json(answer, self._spellings)) if self._spellings else answer

    async def _create(self, body: Mapping[str, Any], timeout: float, stream: bool, tokens: Sequence[int] | None) -> Any:
        """Send a request for a chat, or for a prompt of tokens. openai checks named fields only, 1 ms a message."""
        import openai

        api = self._openai.completions if tokens else self._openai.chat.completions
        create: Any = api.with_raw_response.create
        named = {"prompt": ""} if tokens else {"messages": ()}
        return await create(
            model=body["model"],
            **named,
            stream=True if stream else openai.omit,
            extra_body=body,
            timeout=_make_timeout(timeout),
        )

    async def list_models(self, timeout: float) -> list[ListedModel] | ErrorResponse:
        """Request the list of the served models, empty in another format. Raises RetryableError.

        `timeout` is in seconds. A refused connection is not worth a retry.
        """
        import openai

        try:
            async with answer_deadline(min(CONNECT_SECONDS, timeout) + ANSWER_TIMEOUTS * timeout):
                list_models: Any = self._openai.models.with_raw_response.list
                raw = await list_models(timeout=_make_timeout(timeout))
        except openai.APIStatusError as error:
            return _parse_error_response(error.response)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            retryable = _to_retryable_error(cause)
            retryable.last = isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout)
            raise retryable from error
        except TimeoutError as error:
            raise ServerTimeoutError("the answer was not complete in time", kind="slow_body") from error
        response: httpx.Response = raw.http_response
        try:
            content = loads(response.content)
        except (ValueError, RecursionError) as error:
            raise NoModelListError("its list of models is no JSON", kind=classify_body(response.text)) from error
        if isinstance(content, dict) and content.get("error") and not content.get("data"):
            raise NoModelListError("its list of models is an error", kind="error_object")
        return parse_model_list(response)


async def _assemble(raw: Any) -> dict[str, Any]:
    """Assemble a streamed answer. Raises RetryableError for events that are none of a chat completion."""
    try:
        return await assemble_completion(raw.parse())
    except UNREADABLE as error:
        raise RetryableError("a stream that is no chat completion", kind="invalid_json") from error


def _decode(data: bytes) -> Any:
    """Decode a response's JSON. Raises RetryableError for anything else."""
    try:
        return loads(data)
    except (ValueError, RecursionError) as error:
        kind = classify_body(data[:1000].decode("utf-8", "replace"))
        described = {"empty_body": "an empty answer", "html": "a page of HTML"}.get(kind, "an answer that is no JSON")
        raise RetryableError(described, kind=kind) from error


def _check_content(content: Any) -> dict[str, Any] | ServerError:
    """Check a decoded response. Raises RetryableError if it cannot even be looked through."""
    try:
        return check_response(content)
    except UNREADABLE as error:
        raise RetryableError("an answer that is no chat completion", kind="unreadable_answer") from error


def _make_timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)


def _parse_error_response(response: Any) -> ErrorResponse:
    """Parse the error of a response whose status is not a success."""
    kind = f"status_{response.status_code}"
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "an address that it does not name")
        return ErrorResponse(ServerError(response.status_code, target), response.headers, kind)
    return ErrorResponse(parse_error_body(response.status_code, response.text), response.headers, kind)


def _to_retryable_error(error: BaseException) -> RetryableError:
    """Convert a lost connection or a time-out to a RetryableError."""
    error_type = ServerTimeoutError if isinstance(error, httpx.TimeoutException) else RetryableError
    return error_type(f"{type(error).__name__} {error}".strip(), kind=classify_transport_error(error))
