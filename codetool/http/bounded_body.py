"""Bound the bodies of HTTP responses: their size, also decompressed, and how many large ones are read at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from codetool.concurrency import LARGE_BYTES, admit_large_data
from codetool.http.answer_deadline import paused_deadline

MAX_RESPONSE_BYTES = 8 * 2**20
"""Maximum size of a chat server's response, with all its choices, reasoning and log-probabilities."""
MAX_SCORES_BYTES = 2**20
"""Maximum size of a PRM server's response, which holds numbers."""


class BodyTooLargeError(httpx.ReadError):
    """The body of a response is larger than its limit."""


class BoundedTransport(httpx.AsyncBaseTransport):
    """A transport that passes on the responses of another one with at most `max_bytes` bytes each."""

    def __init__(self, inner: httpx.AsyncBaseTransport, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the response. Reading too large a body raises BodyTooLargeError."""
        return bound_response(await self._inner.handle_async_request(request), self._max_bytes)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


def bound_response(response: httpx.Response, max_bytes: int) -> httpx.Response:
    """Return the response with a body that is decompressed and limited while it is read."""
    stream = _BoundedStream(response, max_bytes)
    headers = httpx.Headers(response.headers)
    if "content-encoding" in headers:
        del headers["content-encoding"]
        headers.pop("content-length", None)
    return httpx.Response(response.status_code, headers=headers, stream=stream, extensions=response.extensions)


def release_stream(response: httpx.Response) -> None:
    """Let a response whose body was read be freed with its last reference.

    Its stream refers to the response; Python would free such a cycle, with the body, only at some later time.
    """
    response.stream = httpx.ByteStream(b"")


class _BoundedStream(httpx.AsyncByteStream):
    """The decompressed body of a response."""

    def __init__(self, response: httpx.Response, max_bytes: int) -> None:
        self._response, self._max_bytes = response, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        announced = self._response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self._max_bytes:
            raise self._make_error()
        size = 0
        chunks: Any = (
            self._response.aiter_bytes() if "content-encoding" in self._response.headers else self._response.aiter_raw()
        )
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                chunk = b""  # the exception's traceback would keep it, and the generator's
                await chunks.aclose()
                del chunks
                raise self._make_error()
            if size > LARGE_BYTES:
                with paused_deadline():
                    await admit_large_data()
            yield chunk

    def _make_error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the answer is larger than {self._max_bytes:,} bytes")

    async def aclose(self) -> None:
        await self._response.aclose()
