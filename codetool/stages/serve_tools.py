"""stage=serve_tools: the benchmark's replica over HTTP, for curl, a browser and other frameworks, until Ctrl-C."""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable
from urllib.parse import urlencode

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config import RunConfig
from codetool.errors import ConfigError
from codetool.tools.arguments import parse_query, public

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE = 1  # seconds that requests under way get at the end


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ServeTools:
    """Settings of the server."""

    host: Annotated[str, Field(min_length=1)]
    """Address or name of this machine that it listens on."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """TCP port; 0 takes a free one."""
    require_key: bool
    """Whether a request needs a key, as at the real service."""


@runtime_checkable
class Served(Protocol):
    """A replica that can be served."""

    def site(self, *, require_key: bool, environment: Mapping[str, str]) -> ASGIApp:
        """Its web site; the environment may hold the key that is demanded."""
        ...


def serve_tools(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """0, after the replica of the benchmark has been served until Ctrl-C or SIGTERM.

    Raises ConfigError if the benchmark has no replica, or the address cannot be listened on.
    """
    replica, settings = config.tools.replica, config.serve
    if not isinstance(replica, Served):
        raise ConfigError(f"stage=serve_tools: benchmark={choices['benchmark']} has no replica that could be served")
    listener = _listen(settings)
    with listener:
        address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
        _announce(address, settings, choices, console)
        if not config.dry_run:
            site = replica.site(require_key=settings.require_key, environment=os.environ)
            with suppress(KeyboardInterrupt):  # how a server is meant to end
                _serve(_Logged(site, lambda line: print(line, file=sys.stderr, flush=True)), listener)
            console.print("Stopped.", highlight=False)
    return 0


def _announce(address: str, settings: ServeTools, choices: Mapping[str, str], console: Console) -> None:
    wanted = "none wanted"
    if settings.require_key:
        wanted = "the one in TMDB_API_KEY" if os.environ.get("TMDB_API_KEY", "").strip() else "wanted, of any value"
    console.print(f"stage=serve_tools benchmark={choices['benchmark']}; key: {wanted}; Ctrl-C ends it", highlight=False)
    print(f"{address}/ lists the operations", flush=True)


def _serve(app: ASGIApp, listener: socket.socket) -> None:
    import uvicorn  # here: only where something is served

    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(settings: ServeTools) -> socket.socket:
    """The bound socket. Raises ConfigError in the words of the options."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return socket.create_server(place[:2], family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            taken = f"serve.port={settings.port} is taken on {settings.host}: name another one, or 0 for a free one"
            raise ConfigError(taken) from error
        where = f"serve.host={settings.host} serve.port={settings.port}"
        raise ConfigError(f"{where}: cannot be listened on ({error.strerror})") from error


def _shown(host: str) -> str:
    """The host as it stands in a URL that this machine can open."""
    if host in {"0.0.0.0", "::"}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


class _Logged:
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
            self._tell(f"{time.strftime('%H:%M:%S')} {scope['method']} {_asked(scope)} {status} {spent:.1f} ms")


def _asked(scope: Mapping[str, Any]) -> str:
    """Path and query of a request in printable characters, without the arguments that are keys."""
    query = urlencode(public(parse_query(scope["query_string"].decode("latin-1")), frozenset()))
    path = scope["raw_path"].decode("latin-1")
    asked = f"{path}?{query}" if query else path
    return "".join(letter if letter.isprintable() else "?" for letter in asked)
