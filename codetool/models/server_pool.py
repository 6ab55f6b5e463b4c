"""vLLM servers by their commands. A sweep keeps them between its cells, so that equal cells share one start.

    with keep_servers():        # the sweep
        …                       # each cell's `VllmConfig.open` takes servers from the pool and puts them back

Outside of `keep_servers` each run has a pool of its own, which ends with the run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from codetool.models.vllm_process import RunningServer, ServerCommand, end_processes, start_server

log = logging.getLogger(__name__)


class ServerPool:
    """Running servers that no run uses, by their commands."""

    def __init__(self) -> None:
        self._idle: dict[ServerCommand, RunningServer] = {}

    @property
    def has_idle(self) -> bool:
        """Whether a server is running that no run uses."""
        return bool(self._idle)

    async def take(self, command: ServerCommand, file: Path, timeout: float) -> RunningServer:
        """Return the idle server of a command, or start one, whose output goes to `file`; `timeout` is in seconds.

        Raises MissingError if it does not start.
        """
        server = self._idle.pop(command, None)
        if server is not None and await server.is_healthy():
            log.info("%s is still up from an earlier cell, its log is %s", command.name, server.log.file)
            return server
        if server is not None:
            end_processes([server.process])
        log.info("starting %s", command.name)
        return await start_server(command, file, timeout)

    def put_back(self, command: ServerCommand, server: RunningServer) -> None:
        """Take a server that a run does not use any more."""
        self._idle[command] = server

    def end_idle(self, wanted: Collection[ServerCommand] = ()) -> None:
        """End the idle servers, except those of the wanted commands; return when they have ended."""
        unwanted = [command for command in self._idle if command not in wanted]
        end_processes([self._idle.pop(command).process for command in unwanted])


_kept: ContextVar[ServerPool | None] = ContextVar("kept_servers", default=None)


@contextmanager
def keep_servers() -> Iterator[None]:
    """Keep the servers of each run in this context for the next run, and end them with the context."""
    pool = ServerPool()
    token = _kept.set(pool)
    try:
        yield
    finally:
        _kept.reset(token)
        pool.end_idle()


@contextmanager
def open_pool() -> Iterator[ServerPool]:
    """Yield the pool of `keep_servers`, or else one that ends with the context."""
    if (kept := _kept.get()) is not None:
        yield kept
        return
    pool = ServerPool()
    try:
        yield pool
    finally:
        pool.end_idle()
