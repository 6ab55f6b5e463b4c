"""Connection to one chat server through `openai.AsyncOpenAI`: each request is sent once, responses are dictionaries.

openai does not raise errors inside a success, and its models drop unknown fields, so the raw response is parsed here.
openai takes 0.4 s to import and is imported when a connection is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from json import JSONDecodeError, loads
from typing import Any, Self

import httpx

from codetool.http.chat_response import parse_model_list
from codetool.http.endpoint import Endpoint
from codetool.http.errors_in_success import check_response
from codetool.http.http_client import open_http_client
from codetool.http.reachability import check_url
from codetool.http.retry import RetryableError
from codetool.http.server_error import ServerError, parse_error, parse_error_body
from codetool.http.stream import assemble_completion

CONNECT_SECONDS = 5.0


class ServerTimeoutError(RetryableError):
    """The server sent nothing within the time-out."""


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """Response that reports an error, with its headers."""

    error: ServerError
    headers: Mapping[str, str] = field(default_factory=dict)


class ChatConnection:
    """Open connection to a chat server; an asynchronous context manager."""

    def __init__(self, server: Endpoint, key: str | None) -> None:
        """Take the endpoint, and the key that is sent with every request."""
        self._endpoint, self._key = server, key
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
        """Send one chat request and return the response. Raises RetryableError without a response in JSON."""
        import openai

        stream = self._endpoint.stream
        create: Any = self._openai.chat.completions.with_raw_response.create
        try:
            raw = await create(
                model=sent["model"],
                messages=(),  # openai checks the type of each, 1 ms a request; extra_body is sent unchanged
                stream=True if stream else openai.omit,
                extra_body={**sent, **self._endpoint.extra_body},
                timeout=_make_timeout(timeout),
            )
            response: httpx.Response = raw.http_response
            if stream and "json" not in response.headers.get("content-type", ""):
                content = await assemble_completion(raw.parse())
            else:
                content = loads(await response.aread())
        except openai.APIStatusError as error:
            return _parse_error_response(error.response)
        except openai.APIConnectionError as error:
            raise _to_retryable_error(error.__cause__ or error) from error
        except openai.APIError as error:  # an event of a stream
            return ErrorResponse(parse_error({"error": error.body or str(error)}))
        except httpx.TransportError as error:
            raise _to_retryable_error(error) from error
        except (JSONDecodeError, UnicodeDecodeError) as error:
            raise RetryableError("an answer that is no JSON") from error
        answer = check_response(content)
        return ErrorResponse(answer, response.headers) if isinstance(answer, ServerError) else answer

    async def list_models(self) -> list[str] | ErrorResponse:
        """Request the names of the served models, empty in another format. Raises RetryableError."""
        import openai

        try:
            raw: Any = await self._openai.models.with_raw_response.list()
        except openai.APIStatusError as error:
            return _parse_error_response(error.response)
        except openai.APIConnectionError as error:
            raise _to_retryable_error(error.__cause__ or error) from error
        return parse_model_list(raw.http_response)


def _make_timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)


def _parse_error_response(response: Any) -> ErrorResponse:
    """Parse the error of a response whose status is not a success."""
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "an address that it does not name")
        return ErrorResponse(ServerError(response.status_code, target), response.headers)
    return ErrorResponse(parse_error_body(response.status_code, response.text), response.headers)


def _to_retryable_error(error: BaseException) -> RetryableError:
    """Convert a lost connection or a time-out to a RetryableError."""
    kind = ServerTimeoutError if isinstance(error, httpx.TimeoutException) else RetryableError
    return kind(f"{type(error).__name__} {error}".strip())
