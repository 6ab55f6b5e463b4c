"""An HTTP client for a thousand requests in flight.

httpx's connection pool looks through all of its connections whenever one is taken or given back, so its cost grows with
the square of the requests in flight (`experiments/performance/http_pools.py` measures it). Here they are spread
over many small pools.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx

PER_POOL = 16
"""Connections of one pool at most."""


class HttpPools:
    """Connections to servers, `concurrency` at most; requests beyond that wait. An asynchronous context manager."""

    def __init__(
        self,
        *,
        concurrency: int,
        timeout: httpx.Timeout,
        base_url: httpx.URL | str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """No connection yet. `base_url` stands before relative addresses; `headers` go with every request."""
        self._sizes = [min(PER_POOL, concurrency - begin) for begin in range(0, concurrency, PER_POOL)]
        self._timeout, self._base_url, self._headers = timeout, base_url, headers
        self._clients: list[httpx.AsyncClient] = []
        self._busy = [0.0] * len(self._sizes)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """The client, ready."""
        trust = httpx.create_ssl_context()  # takes 20 ms: once for all pools
        for size in self._sizes:
            limits = httpx.Limits(max_connections=size, max_keepalive_connections=size)
            client = httpx.AsyncClient(
                base_url=self._base_url, headers=self._headers, limits=limits, timeout=self._timeout, verify=trust
            )
            self._clients.append(await self._stack.enter_async_context(client))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._stack.aclose()

    async def request(
        self, method: str, url: str, json: Any = None, timeout: httpx.Timeout | None = None
    ) -> httpx.Response:
        """The response, over the pool with the fewest requests. Raises httpx.TransportError."""
        patience = timeout or self._timeout
        place = min(range(len(self._sizes)), key=lambda place: self._busy[place])
        self._busy[place] += 1 / self._sizes[place]
        try:
            return await self._clients[place].request(method, url, json=json, timeout=patience)
        finally:
            self._busy[place] -= 1 / self._sizes[place]
