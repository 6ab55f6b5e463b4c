"""The HTTP client of live calls: where keys join a request, after everything that logs or reports it.

The client, its log lines and its exceptions hold the request without the key; only the copy on the wire has it. What a
service echoes is cut out of the HTTP library's log too. Cookies are not kept, so that no task sees what a service told
another. Proxies named in the environment are not used.
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
    """Adds the host's key to each request and hands it to another transport."""

    def __init__(self, inner: httpx.AsyncBaseTransport, keyring: Keyring) -> None:
        """Takes the transport that does the sending."""
        self._inner = inner
        self._keyring = keyring

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response to the request with its key."""
        return await self._inner.handle_async_request(add_credentials(request, self._keyring))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def add_credentials(request: httpx.Request, keyring: Keyring) -> httpx.Request:
    """The request with its host's key, or the very request where it has none.

    A key leaves in plain text only to a host configured with its port: at the default port http becomes https.
    """
    host = extract_host(str(request.url))
    credentials = keyring.credentials_for(host)
    if host is None or credentials is None:
        return request
    headers, query = credentials
    url = request.url.copy_merge_params(query) if query else request.url
    if request.url.port is None:
        url = url.copy_with(scheme="https")
    carried = httpx.Headers(request.headers)
    carried.update(headers)
    return httpx.Request(request.method, url, headers=carried, stream=request.stream, extensions=request.extensions)


@asynccontextmanager
async def open_client(
    keyring: Keyring, *, connect_timeout: float, timeout: float, connections: int
) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose requests carry the keyring's keys. Times in seconds; `timeout` bounds each wait for bytes."""
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
    """While open, the HTTP library's log lines, which at level DEBUG hold response headers, lose the keyring's keys."""

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
