"""Redirects of an API: followed on the same host alone, with method and body kept.

A browser turns a redirected POST into a GET, and httpx would send the prompt to whatever host is named. A server that
moves an address by a slash or from http to https is followed; another host gets neither key nor prompt.
"""

from __future__ import annotations

import httpx

REDIRECT_STATUSES = frozenset({301, 302, 307, 308})
MAX_REDIRECTS = 5


class SameHostRedirects(httpx.AsyncBaseTransport):
    """Follows redirects to the same host; hands any other response through as it is."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        """Takes the transport that does the sending."""
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response after at most `MAX_REDIRECTS` redirects. Raises httpx.TransportError."""
        for _ in range(MAX_REDIRECTS):
            response = await self._inner.handle_async_request(request)
            target = find_redirect_target(request.url, response)
            if target is None or not is_same_host(request.url, target):
                return response
            await response.aclose()
            headers = httpx.Headers(request.headers)
            headers["Host"] = target.netloc.decode("ascii")
            request = httpx.Request(
                request.method, target, headers=headers, stream=request.stream, extensions=request.extensions
            )
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def find_redirect_target(url: httpx.URL, response: httpx.Response) -> httpx.URL | None:
    """Where a response leads to, None if it is no redirect or names no address."""
    location = response.headers.get("location")
    if response.status_code not in REDIRECT_STATUSES or not location:
        return None
    try:
        target = url.join(location)
    except httpx.InvalidURL:
        return None
    return target if target.query or not url.query else target.copy_with(query=url.query)


def is_same_host(url: httpx.URL, target: httpx.URL) -> bool:
    """Whether an address is of the same host and port, or of the same host's https at their usual ports."""
    if url.host != target.host:
        return False
    if (url.scheme, url.port) == (target.scheme, target.port):
        return True
    return (url.scheme, target.scheme, url.port, target.port) == ("http", "https", None, None)
