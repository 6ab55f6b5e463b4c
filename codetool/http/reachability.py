"""Validate a server's URL, and check within two seconds that its host resolves, or that it accepts a connection."""

from __future__ import annotations

import asyncio
import queue
import re
import socket
import threading
from functools import partial
from urllib.request import getproxies

import httpx

from codetool.credentials.api_keys import reject_secrets_in_query
from codetool.errors import ConfigError, UnreachableError

RESOLVE_SECONDS = 1.5
CONNECT_SECONDS = 2.0
"""Time in which `check_connection` resolves a host and connects to it."""
USERINFO_PATTERN = re.compile(r"(\w+://)?[^/?#]*@")
"""Start of a URL with a user or a password before its host (RFC 3986, 3.2.1)."""


def reject_secrets_in_url(option: str, url: str | None, *, instead: str) -> None:
    """Raise ValueError, for validators, if a URL holds a user, a password or a key. The message does not repeat it.

    `option` is the setting with the URL; `instead` is the advice at the end of the message.
    """
    if url and USERINFO_PATTERN.match(url):
        raise ValueError(
            f"{option} must not hold a user or a password, for addresses are written to config.yaml, reports and W&B: "
            f"{instead}."
        )
    if url:
        reject_secrets_in_query(option, url, instead=instead)


async def check_url(url: str) -> httpx.URL:
    """Parse a URL and check that its host resolves; behind a proxy only the proxy resolves it.

    Raises ConfigError if it is not an http(s) URL, UnreachableError if the host is unknown or the resolver times out.
    """
    parsed = parse_url(url)
    if not getproxies():
        await _check_host_async(parsed, url)
    return parsed


def check_host(url: str) -> None:
    """Check a URL as `check_url` does, for callers without an event loop."""
    parsed = parse_url(url)
    if getproxies():
        return
    answer: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(_resolve_host(parsed.host)), daemon=True, name="resolve").start()
    try:
        resolve_error = answer.get(timeout=RESOLVE_SECONDS)
    except queue.Empty as error:
        raise _make_timeout_error(url, parsed.host) from error
    if resolve_error is not None:
        raise _make_unknown_host_error(url, parsed.host, resolve_error)


def check_connection(url: str) -> None:
    """Check that a URL's host resolves and accepts a connection within two seconds; behind a proxy, only the URL.

    Raises ConfigError if it is not an http(s) URL, UnreachableError otherwise.
    """
    parsed = parse_url(url)
    if getproxies():
        return
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    answer: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
    target = partial(_put_connection_error, answer, parsed.host, port)
    threading.Thread(target=target, daemon=True, name="connect").start()
    try:
        error = answer.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise UnreachableError(f"{url}: no connection to {parsed.host} within {CONNECT_SECONDS:g} s") from None
    if isinstance(error, socket.gaierror):
        raise _make_unknown_host_error(url, parsed.host, error)
    if error is not None:
        raise UnreachableError(f"{url}: no connection to {parsed.host}:{port} ({error})")


def _put_connection_error(answer: queue.SimpleQueue[OSError | None], host: str, port: int) -> None:
    """Connect to a host and put the error into the queue, None if it accepts the connection."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        answer.put(error)
    except UnicodeError as error:
        answer.put(OSError(str(error)))
    else:
        answer.put(None)


def parse_url(url: str) -> httpx.URL:
    """Parse the address of a server. Raises ConfigError if it is not an http(s) URL."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"{url!r} is no address ({error}); expected for example http://localhost:8000/v1") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigError(f"{url!r} is no http address; expected for example http://localhost:8000/v1")
    return parsed


async def _check_host_async(parsed: httpx.URL, url: str) -> None:
    try:
        resolve_error = await asyncio.wait_for(_resolve_host_async(parsed.host), RESOLVE_SECONDS)
    except TimeoutError as error:
        raise _make_timeout_error(url, parsed.host) from error
    if resolve_error is not None:
        raise _make_unknown_host_error(url, parsed.host, resolve_error)


def _make_timeout_error(url: str, host: str) -> UnreachableError:
    return UnreachableError(f"{url}: no answer about the host {host} in {RESOLVE_SECONDS} s")


def _make_unknown_host_error(url: str, host: str, error: OSError) -> UnreachableError:
    return UnreachableError(f"{url}: unknown host {host} ({error}). Check the address.")


def _resolve_host(host: str) -> OSError | None:
    """Resolve a host. Returns the resolver's error, None if the host exists."""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as failure:
        return failure
    except UnicodeError as failure:
        return OSError(str(failure))
    return None


def _resolve_host_async(host: str) -> asyncio.Future[OSError | None]:
    """Resolve a host in a daemon thread. Returns the resolver's error, None if the host exists.

    The event loop's thread pool is not used, since a hanging resolver would delay the exit of the program.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[OSError | None] = loop.create_future()

    def deliver(error: OSError | None) -> None:
        if not answer.done():
            answer.set_result(error)

    def resolve() -> None:
        error = _resolve_host(host)
        try:
            loop.call_soon_threadsafe(deliver, error)
        except RuntimeError:
            return  # the loop was closed before the resolver answered

    threading.Thread(target=resolve, daemon=True, name="resolve").start()
    return answer
