"""HTTP client that openai's client runs on: connection pools, the endpoint's key, redirects on the same host only.

openai's client takes headers from OPENAI_* variables, which may be meant for another server. This client sends only the
headers that a chat request needs, and the key of the endpoint's own `key_env`.
"""

from __future__ import annotations

import httpx

from codetool.http.bounded_body import MAX_RESPONSE_BYTES, BoundedTransport
from codetool.http.connection_pools import PooledTransport
from codetool.http.proxies import find_proxy
from codetool.http.redirects import SameHostRedirects

_KEPT_HEADERS = frozenset(
    "accept accept-encoding connection content-length content-type host transfer-encoding user-agent".split()
)
"""Headers of openai's client that are sent."""


class _KeyTransport(httpx.AsyncBaseTransport):
    """Transport that adds the endpoint's key and removes all headers that are not in `_KEPT_HEADERS`."""

    def __init__(self, inner: httpx.AsyncBaseTransport, headers: dict[str, str]) -> None:
        self._inner, self._headers = inner, headers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        kept = [(name, value) for name, value in request.headers.multi_items() if name.lower() in _KEPT_HEADERS]
        signed = httpx.Request(
            request.method,
            request.url,
            headers=[*kept, *self._headers.items()],
            stream=request.stream,
            extensions=request.extensions,
        )
        return await self._inner.handle_async_request(signed)

    async def aclose(self) -> None:
        await self._inner.aclose()


def open_http_client(url: httpx.URL, key: str | None, *, concurrency: int, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """Open a client for one server. Raises ConfigError for a proxy variable that holds no URL.

    If the URL has an `api-version` argument, the key is also sent in Azure's header `api-key`.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if key and "api-version" in url.params:
        headers["api-key"] = key
    pools = PooledTransport(concurrency, proxy=find_proxy(url))
    return httpx.AsyncClient(
        transport=BoundedTransport(_KeyTransport(SameHostRedirects(pools), headers), MAX_RESPONSE_BYTES),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )
