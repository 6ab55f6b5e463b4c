"""stage=serve_tools: the benchmark's replica over HTTP, for curl, a browser and other frameworks, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config import RunConfig
from codetool.errors import ConfigError
from codetool.stages.listening import address, listen, server, until_stopped

if TYPE_CHECKING:
    from starlette.types import ASGIApp

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
    with listen("serve", settings.host, settings.port) as listener:
        _announce(address(settings.host, listener), settings, choices, console)
        if not config.dry_run:
            site = replica.site(require_key=settings.require_key, environment=os.environ)
            with suppress(KeyboardInterrupt):  # before the server has begun
                asyncio.run(until_stopped(server(site, GRACE), listener))
            console.print("Stopped.", highlight=False)
    return 0


def _announce(url: str, settings: ServeTools, choices: Mapping[str, str], console: Console) -> None:
    wanted = "none wanted"
    if settings.require_key:
        wanted = "the one in TMDB_API_KEY" if os.environ.get("TMDB_API_KEY", "").strip() else "wanted, of any value"
    console.print(f"stage=serve_tools benchmark={choices['benchmark']}; key: {wanted}; Ctrl-C ends it", highlight=False)
    print(f"{url}/ lists the operations", flush=True)
