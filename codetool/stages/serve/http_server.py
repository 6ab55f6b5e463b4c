"""What the stages that serve over HTTP share: a socket in the words of the options, a log line a request, Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from codetool.errors import ConfigError
from codetool.tools.request_arguments import drop_secret_pairs, parse_query

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn import Server


def bind_socket(group: str, host: str, port: int) -> socket.socket:
    """The bound socket. Raises ConfigError in the words of `GROUP.host` and `GROUP.port`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return disable_nagle(socket.create_server(place[:2], family=family, backlog=2048))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            taken = f"{group}.port={port} is taken on {host}: name another one, or 0 for a free one"
            raise ConfigError(taken) from error
        where = f"{group}.host={host} {group}.port={port}"
        raise ConfigError(f"{where}: cannot be listened on ({error.strerror})") from error
    except UnicodeError as error:  # a host that is no name: it has a label that is empty or too long
        raise ConfigError(f"{group}.host={host}: no host can have that name ({error})") from error


def disable_nagle(listener: socket.socket) -> socket.socket:
    """The listening socket, its accepted connections without Nagle's algorithm.

    A response leaves in two writes, its head and its body. With Nagle's algorithm the body waits until the client has
    acknowledged the head, which takes 40 ms over a kept-alive connection. asyncio switches the algorithm off only for
    sockets whose protocol is stated as IPPROTO_TCP, and accepted sockets inherit what the listener states; the option
    itself, which accepted sockets inherit too, serves event loops that do not set it.
    """
    stated = socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())
    stated.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stated


def format_url(host: str, listener: socket.socket) -> str:
    """The URL of a listening socket that this machine can open."""
    shown = "localhost" if host in {"0.0.0.0", "::"} else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def create_server(app: ASGIApp, grace: float) -> Server:
    """A server of the app that tells a line for each request on standard error.

    Requests under way when it is stopped get `grace` seconds.
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
    """Return after Ctrl-C or SIGTERM, which is how a server is meant to end, once requests under way have ended."""
    try:
        await running.serve([listener])
        await asyncio.sleep(0)  # where the cancellation arrives that asyncio makes of the signal uvicorn passes on
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass


class AccessLogMiddleware:
    """An ASGI app that tells a line for each request: time, method, path without keys, status, milliseconds."""

    def __init__(self, app: ASGIApp, tell: Callable[[str], None]) -> None:
        self._app = app
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer and tell how it did."""
        status = 500
        started = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            spent = 1000 * (time.perf_counter() - started)
            self._tell(
                f"{time.strftime('%H:%M:%S')} {scope['method']} {_format_request(scope)} {status} {spent:.1f} ms"
            )


def _format_request(scope: Mapping[str, Any]) -> str:
    """Path and query of a request in printable characters, without the arguments that are keys."""
    query = urlencode(drop_secret_pairs(parse_query(scope["query_string"].decode("latin-1")), frozenset()))
    path = scope["raw_path"].decode("latin-1")
    asked = f"{path}?{query}" if query else path
    return "".join(letter if letter.isprintable() else "?" for letter in asked)
