"""Whether an address is one, and whether its host exists, told within two seconds."""

from __future__ import annotations

import asyncio
import queue
import re
import socket
import threading
from urllib.request import getproxies

import httpx

from codetool.credentials.api_keys import reject_secrets_in_query
from codetool.errors import ConfigError, UnreachableError

RESOLVE_SECONDS = 1.5
USERINFO_PATTERN = re.compile(r"(\w+://)?[^/?#]*@")
"""The start of an address with a user or a password before its host (RFC 3986, 3.2.1)."""


def reject_secrets_in_url(option: str, url: str | None, *, instead: str) -> None:
    """Return if the address holds no user, password or key. Raises ValueError, for validators, without repeating it.

    `option` is the setting that holds the address, `instead` what to do instead.
    """
    if url and USERINFO_PATTERN.match(url):
        raise ValueError(
            f"{option} must not hold a user or a password, for addresses are written to config.yaml, reports and W&B: "
            f"{instead}."
        )
    if url:
        reject_secrets_in_query(option, url, instead=instead)


async def check_url(url: str) -> httpx.URL:
    """The URL, once its host is known to exist. Behind a proxy the host is left to the proxy.

    Raises ConfigError if it is no http(s) address, UnreachableError if the host is unknown or the resolver silent.
    """
    parsed = _parse_url(url)
    if not getproxies():
        await _check_host_async(parsed, url)
    return parsed


def check_host(url: str) -> None:
    """Return if `reachable_url` would; for callers without an event loop. Raises what it raises."""
    parsed = _parse_url(url)
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


def _parse_url(url: str) -> httpx.URL:
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
    """What the resolver objects, None if the host exists."""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as failure:
        return failure
    except UnicodeError as failure:
        return OSError(str(failure))
    return None


def _resolve_host_async(host: str) -> asyncio.Future[OSError | None]:
    """What the resolver objects, None if the host exists.

    In a daemon thread of its own: a silent resolver would hold up the event loop's thread pool, and with it the exit.
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
            return  # the loop closed while the resolver was silent

    threading.Thread(target=resolve, daemon=True, name="resolve").start()
    return answer
