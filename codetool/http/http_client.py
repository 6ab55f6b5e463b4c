"""The HTTP client below openai's: many requests in flight, the key added last, redirects kept on the host.

openai's client takes headers from OPENAI_* variables, which are meant for another server as often as not. What leaves
here is what a chat request needs, and the key of the endpoint's own `key_env`.
"""

from __future__ import annotations

import httpx

from codetool.http.connection_pools import PooledTransport
from codetool.http.proxies import find_proxy
from codetool.http.redirects import SameHostRedirects

_KEPT_HEADERS = frozenset(
    "accept accept-encoding connection content-length content-type host transfer-encoding user-agent".split()
)
"""Headers of openai's client that a request leaves with."""


class _KeyTransport(httpx.AsyncBaseTransport):
    """Sends requests with the endpoint's key and none of the headers that it was not asked to send."""

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
    """A client for one server. Raises ConfigError for a proxy variable that holds no address.

    Azure reads a key from a header of its own where addresses name an `api-version`.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if key and "api-version" in url.params:
        headers["api-key"] = key
    pools = PooledTransport(concurrency, proxy=find_proxy(url))
    return httpx.AsyncClient(
        transport=_KeyTransport(SameHostRedirects(pools), headers),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
    )
