"""stage=serve_tools: serve the benchmark's replica or cache over HTTP until Ctrl-C, for curl, browsers and others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import socket
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.stages.serve.http_server import bind_socket, create_server, format_url, serve_until_interrupted
from codetool.tools.sources import CountingSessionFactory

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_SECONDS = 1  # seconds that requests under way get at the end


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ServeToolsConfig:
    """Settings of stage=serve_tools."""

    host: Annotated[str, Field(min_length=1)]
    """Address or host name to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """TCP port; 0 for a free one."""
    require_key: bool
    """Whether requests need an API key, as for the real service."""


@runtime_checkable
class ServableTools(Protocol):
    """A replica or cache that can be served."""

    KEY: str
    """Environment variable of the API key that may be required."""
    ENTRY: str
    """Message about the served addresses; `{url}` stands for the server's URL."""

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: CountingSessionFactory) -> ASGIApp:
        """Return the ASGI app. The environment may hold the required key; the broker holds the mode's sources."""
        ...


def serve_tools(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Serve the benchmark's replica or cache until Ctrl-C or SIGTERM, then return 0.

    Raises ConfigError if the benchmark has neither, or the address is not available.
    """
    served, settings = config.tools.replica or config.tools.recorded_answers, config.serve_tools
    if not isinstance(served, ServableTools):
        raise ConfigError(f"stage=serve_tools: benchmark={choices['benchmark']} has no replica that could be served")
    with bind_socket("serve_tools", settings.host, settings.port) as listener:

        def announce() -> None:
            _announce(format_url(settings.host, listener), served, settings, choices, console)

        with suppress(KeyboardInterrupt):  # before the server has begun
            asyncio.run(_serve(config, served, listener, announce))
        if not config.dry_run:
            console.print("Stopped.", highlight=False)
    return 0


async def _serve(config: RunConfig, served: ServableTools, listener: socket, announce: Callable[[], None]) -> None:
    """Check everything and, unless this is a dry run, serve until interrupted."""
    async with config.tools.open() as broker:
        site = served.site(require_key=config.serve_tools.require_key, environment=os.environ, broker=broker)
        announce()
        if not config.dry_run:
            await serve_until_interrupted(create_server(site, GRACE_SECONDS), listener)


def _announce(
    url: str, served: ServableTools, settings: ServeToolsConfig, choices: Mapping[str, str], console: Console
) -> None:
    key = "none wanted"
    if settings.require_key:
        key = f"the one in {served.KEY}" if os.environ.get(served.KEY, "").strip() else "wanted, of any value"
    console.print(f"stage=serve_tools benchmark={choices['benchmark']}; key: {key}; Ctrl-C ends it", highlight=False)
    print(served.ENTRY.format(url=url), flush=True)
