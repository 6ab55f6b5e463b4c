"""HTTP server functions shared by the serving stages: bind a socket, log requests, serve until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from codetool.credentials.masking import mask_text
from codetool.errors import ConfigError
from codetool.tools.request_arguments import drop_secret_pairs, parse_query

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn import Server


MAX_LOGGED_CHARS = 1_000
"""Maximum number of characters of a request's path and query in the log."""


def bind_socket(group: str, host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigError, which names the options `GROUP.host` and `GROUP.port`."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = addresses[0]
        return disable_nagle(socket.create_server(address[:2], family=family, backlog=2048))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"{group}.port={port} is taken on {host}: name another one, or 0 for a free one"
            raise ConfigError(message) from error
        options = f"{group}.host={host} {group}.port={port}"
        raise ConfigError(f"{options}: cannot be listened on ({error.strerror})") from error
    except UnicodeError as error:  # the host has a label that is empty or too long
        raise ConfigError(f"{group}.host={host}: no host can have that name ({error})") from error


def disable_nagle(listener: socket.socket) -> socket.socket:
    """Return the listening socket with Nagle's algorithm disabled for its accepted connections.

    A response is sent in two writes, its head and its body. With Nagle's algorithm the body waits until the client has
    acknowledged the head, which takes 40 ms on a keep-alive connection. asyncio disables the algorithm only for sockets
    with the protocol IPPROTO_TCP, which accepted sockets inherit from the listener. They also inherit the option
    TCP_NODELAY, which other event loops need.
    """
    stated = socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())
    stated.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stated


def format_url(host: str, listener: socket.socket) -> str:
    """Return the URL of a listening socket, as seen from this machine."""
    shown = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def create_server(app: ASGIApp, grace: float) -> Server:
    """Return a server of the app that prints a line for each request on standard error.

    When it is stopped, requests in progress get `grace` seconds to finish.
    """
    import uvicorn  # here: only where something is served

    config = uvicorn.Config(
        AccessLogMiddleware(app, lambda line: print(line, file=sys.stderr, flush=True)),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=grace,  # type: ignore[arg-type]  # an int by its type; any seconds do
    )
    return uvicorn.Server(config)


async def serve_until_interrupted(running: Server, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; return when the requests in progress have ended."""
    try:
        await running.serve([listener])
        await asyncio.sleep(0)  # uvicorn re-raises the signal, which asyncio turns into a cancellation here
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass


class AccessLogMiddleware:
    """ASGI middleware that logs a line per request: time, method, path without keys, status, milliseconds."""

    def __init__(self, app: ASGIApp, log_line: Callable[[str], None]) -> None:
        self._app = app
        self._log_line = log_line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app and log the request."""
        status = 500
        started = time.perf_counter()

        async def send_and_record_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_and_record_status)
        finally:
            spent = 1000 * (time.perf_counter() - started)
            self._log_line(
                f"{time.strftime('%H:%M:%S')} {scope['method']} {_format_request(scope)} {status} {spent:.1f} ms"
            )


def _format_request(scope: Mapping[str, Any]) -> str:
    """Return the path and query of a request in printable characters, without arguments that hold keys."""
    query = urlencode(drop_secret_pairs(parse_query(scope["query_string"].decode("latin-1")), frozenset()))
    path = scope["raw_path"].decode("latin-1")  # some services' keys are a part of it
    target = mask_text(f"{path}?{query}" if query else path)
    target = target if len(target) <= MAX_LOGGED_CHARS else f"{target[:MAX_LOGGED_CHARS]}…"
    return "".join(letter if letter.isprintable() else "?" for letter in target)
