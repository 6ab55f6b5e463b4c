"""HTTP client of live calls, whose transport adds the keys after everything that logs or reports a request.

The client, its log lines and its exceptions hold the request without the key; only the copy that is sent has it. Keys
that a service echoes are removed from the HTTP library's log. Cookies are not kept, so that tasks stay independent.
Proxies named in the environment are not used.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from codetool.http.connection_pools import PooledTransport
from codetool.tools.allow_list import extract_host
from codetool.tools.secrets import Keyring

WIRE_LOGGERS = ("httpx", *(f"httpcore.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))


class SigningTransport(httpx.AsyncBaseTransport):
    """A transport that adds the host's key to each request and passes it to another transport."""

    def __init__(self, inner: httpx.AsyncBaseTransport, keyring: Keyring) -> None:
        """Takes the transport that sends the requests."""
        self._inner = inner
        self._keyring = keyring

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request with its key and return the response."""
        return await self._inner.handle_async_request(add_credentials(request, self._keyring))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def add_credentials(request: httpx.Request, keyring: Keyring) -> httpx.Request:
    """The request with its host's key, or the same request if the host has none.

    A key is sent over plain http only to a host configured with its port; at the default port http becomes https.
    """
    host = extract_host(str(request.url))
    credentials = keyring.credentials_for(host)
    if host is None or credentials is None:
        return request
    headers, query = credentials
    url = request.url.copy_merge_params(query) if query else request.url
    if request.url.port is None:
        url = url.copy_with(scheme="https")
    merged = httpx.Headers(request.headers)
    merged.update(headers)
    return httpx.Request(request.method, url, headers=merged, stream=request.stream, extensions=request.extensions)


@asynccontextmanager
async def open_client(
    keyring: Keyring, *, connect_timeout: float, timeout: float, connections: int
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client whose requests carry the keys. Times are seconds; `timeout` bounds each wait for bytes."""
    client = httpx.AsyncClient(
        transport=SigningTransport(PooledTransport(connections), keyring),
        timeout=httpx.Timeout(timeout, connect=connect_timeout),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
    )
    with scrub_logs(keyring):
        async with client:
            yield client


@contextmanager
def scrub_logs(keyring: Keyring) -> Iterator[None]:
    """Remove the keys from the HTTP library's log lines, which hold response headers at level DEBUG."""

    def scrub(record: logging.LogRecord) -> bool:
        record.msg, record.args = keyring.scrub(record.getMessage()), ()
        return True

    loggers = [logging.getLogger(name) for name in WIRE_LOGGERS]
    for logger in loggers:
        logger.addFilter(scrub)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(scrub)
