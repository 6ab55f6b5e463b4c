"""stage=serve_tools: serve the benchmark's replica or cache over HTTP until Ctrl-C, for curl, browsers and others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import socket
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.stages.serve.http_server import bind_socket, create_server, format_url, serve_until_interrupted
from codetool.stages.serve.tool_site import ToolSite
from codetool.tools.sources import ServableTools
from codetool.types import Tool

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


def serve_tools(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Serve the benchmark's replica or cache until Ctrl-C or SIGTERM, then return 0.

    A source without a web app of its own is served by the URLs of the benchmark's tools. Raises ConfigError if the
    benchmark has neither, or the address is not available.
    """
    source, settings = config.tools.replica or config.tools.recorded_answers, config.serve_tools
    if source is None:
        raise ConfigError(f"stage=serve_tools: benchmark={choices['benchmark']} has no replica that could be served")
    served = source if isinstance(source, ServableTools) else ToolSite(_list_tools(config))
    with bind_socket("serve_tools", settings.host, settings.port) as listener:

        def announce() -> None:
            _announce(format_url(settings.host, listener), served, settings, choices, console)

        with suppress(KeyboardInterrupt):  # before the server has begun
            asyncio.run(_serve(config, served, listener, announce))
        if not config.dry_run:
            console.print("Stopped.", highlight=False)
    return 0


def _list_tools(config: RunConfig) -> list[Tool]:
    """Return the tools of all tasks of the benchmark, each once."""
    tools = (tool for task in config.benchmark.tasks() for tool in task.tools)
    return list({(tool.server, tool.method, tool.path): tool for tool in tools}.values())


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
