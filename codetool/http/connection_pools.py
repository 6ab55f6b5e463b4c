"""HTTP client and transport for a thousand requests in flight.

httpx's connection pool scans all its connections whenever one is taken or returned, so its cost grows with the square
of the requests in flight (`experiments/performance/http_pools.py` measures it). Here requests are spread over many
small pools: `HttpPools` is a client, `PooledTransport` a transport for another httpx client.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Self

import httpx

from codetool.concurrency import large_data_scope
from codetool.http.answer_deadline import answer_deadline
from codetool.http.bounded_body import MAX_RESPONSE_BYTES, BoundedTransport, release_stream

MAX_POOL_CONNECTIONS = 16
"""Maximum number of connections of one pool."""
ANSWER_TIMEOUTS = 2
"""Time-outs within which a response must be complete; each wait for bytes may take one."""


def load_ssl_context() -> ssl.SSLContext:
    """Return the certificates that servers are checked against, those that SSL_CERT_FILE or SSL_CERT_DIR names if set.

    They take 20 ms to load, which all clients of a process share.
    """
    return _load_certificates(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _load_certificates(file: str | None, folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reads the same two variables


class HttpPools:
    """HTTP client with at most `concurrency` connections; further requests wait. An asynchronous context manager."""

    def __init__(
        self,
        *,
        concurrency: int,
        timeout: httpx.Timeout,
        base_url: httpx.URL | str = "",
        headers: Mapping[str, str] | None = None,
        proxy: httpx.Proxy | None = None,
        max_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        """Store the settings; no connection is opened.

        `base_url` is put before relative URLs, `headers` are sent with every request, and `proxy` is used for all.
        `max_bytes` is the maximum size of a response's body.
        """
        self._max_bytes = max_bytes
        self._slots = _PoolSlots(concurrency)
        self._free = asyncio.Semaphore(concurrency)
        self._timeout, self._base_url, self._headers, self._proxy = timeout, base_url, headers, proxy
        self._clients: list[httpx.AsyncClient] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Create the pools."""
        ssl_context = load_ssl_context()
        for limits in self._slots.make_limits():
            pool = httpx.AsyncHTTPTransport(verify=ssl_context, limits=limits, proxy=self._proxy)
            client = httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                transport=BoundedTransport(pool, self._max_bytes),
                timeout=self._timeout,
                trust_env=False,
            )
            self._clients.append(await self._stack.enter_async_context(client))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._stack.aclose()

    async def request(
        self, method: str, url: str, json: Any = None, timeout: httpx.Timeout | None = None
    ) -> httpx.Response:
        """Send a request through the least busy pool and return the response. Raises httpx.RequestError.

        The time that a request waits for a free connection does not count.
        """
        request_timeout = timeout or self._timeout
        limit = (
            None
            if request_timeout.read is None
            else (request_timeout.connect or 0) + (ANSWER_TIMEOUTS * request_timeout.read)
        )
        async with self._free:
            slot = self._slots.take()
            try:
                async with large_data_scope(), answer_deadline(limit):
                    response = await self._clients[slot].request(method, url, json=json, timeout=request_timeout)
                release_stream(response)
                return response
            except TimeoutError as error:
                raise SlowBodyError(f"the answer was not complete after {limit:g} s") from error
            finally:
                self._slots.release(slot)


class SlowBodyError(httpx.ReadTimeout):
    """Bytes came in time, but not the whole response."""


class PooledTransport(httpx.AsyncBaseTransport):
    """Transport like `httpx.AsyncHTTPTransport` with many small pools; requests beyond `connections` wait."""

    def __init__(self, connections: int, proxy: httpx.Proxy | None = None) -> None:
        """Create the pools; no connection is opened. All requests go through the proxy if one is given."""
        self._slots = _PoolSlots(connections)
        ssl_context = load_ssl_context()
        self._pools = [
            httpx.AsyncHTTPTransport(verify=ssl_context, limits=limits, proxy=proxy)
            for limits in self._slots.make_limits()
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the least busy pool and return the response. Raises httpx.TransportError."""
        slot = self._slots.take()
        try:
            response = await self._pools[slot].handle_async_request(request)
        except BaseException:
            self._slots.release(slot)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream = _TrackedStream(response.stream, lambda: self._slots.release(slot))
        return httpx.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools:
            await pool.aclose()


class _PoolSlots:
    """Number of connections and of running requests of each pool."""

    def __init__(self, connections: int) -> None:
        self._sizes = [
            min(MAX_POOL_CONNECTIONS, connections - start) for start in range(0, connections, MAX_POOL_CONNECTIONS)
        ]
        self._busy = [0.0] * len(self._sizes)

    def make_limits(self) -> list[httpx.Limits]:
        return [httpx.Limits(max_connections=size, max_keepalive_connections=size) for size in self._sizes]

    def take(self) -> int:
        """Return the index of the least busy pool and count one more request on it."""
        slot = min(range(len(self._sizes)), key=self._busy.__getitem__)
        self._busy[slot] += 1 / self._sizes[slot]
        return slot

    def release(self, slot: int) -> None:
        self._busy[slot] -= 1 / self._sizes[slot]


class _TrackedStream(httpx.AsyncByteStream):
    """Response body that calls a function when it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, on_close: Callable[[], None]) -> None:
        self._body, self._closed = body, on_close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk

    async def aclose(self) -> None:
        on_close, self._closed = self._closed, lambda: None
        on_close()
        await self._body.aclose()
