"""httpx transport that follows redirects on the same host only, keeping method and body.

A browser turns a redirected POST into a GET, and httpx would send the prompt to any host that is named. Redirects that
add a slash or change http to https are followed; another host receives neither key nor prompt.
"""

from __future__ import annotations

import httpx

REDIRECT_STATUSES = frozenset({301, 302, 307, 308})
MAX_REDIRECTS = 5


class SameHostRedirects(httpx.AsyncBaseTransport):
    """Transport that follows redirects to the same host and returns other responses unchanged."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        """Take the transport that sends the requests."""
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response after at most `MAX_REDIRECTS` redirects. Raises httpx.TransportError."""
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
    """Return the target of a redirect, None for other responses or an invalid target."""
    location = response.headers.get("location")
    if response.status_code not in REDIRECT_STATUSES or not location:
        return None
    try:
        target = url.join(location)
    except httpx.InvalidURL:
        return None
    return target if target.query or not url.query else target.copy_with(query=url.query)


def is_same_host(url: httpx.URL, target: httpx.URL) -> bool:
    """Whether two URLs have the same host and port, or differ by http and https at default ports."""
    if url.host != target.host:
        return False
    if (url.scheme, url.port) == (target.scheme, target.port):
        return True
    return (url.scheme, target.scheme, url.port, target.port) == ("http", "https", None, None)
