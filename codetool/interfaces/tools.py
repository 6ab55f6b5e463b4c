"""Protocols of what answers tool calls: sources, sessions, the broker, and a model that simulates tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from codetool.types import JSON, HttpRequest, Task, ToolAnswer, ToolCall

Examples = Callable[[ToolCall, int], Sequence[tuple[Mapping[str, JSON], JSON]]]
"""`(call, n)` → arguments and data of up to n other recorded calls of the same operation."""


@runtime_checkable
class ToolSource(Protocol):
    """Source of tool answers, such as recordings, a replica or a live service; the broker asks several in order."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """Answer the call, or return None if another source has to."""
        ...

    def checksum(self) -> str | None:
        """Return the hex sha256 of the data files that determine its answers, None without such files.

        Raises MissingError if the data is not there.
        """
        ...


class ToolSession(Protocol):
    """Tools of one task, or of one client of a tool server."""

    async def call(self, request: HttpRequest) -> ToolAnswer:
        """Route a request and answer it. An error of a source becomes an answer."""
        ...

    async def answer(self, call: ToolCall) -> ToolAnswer:
        """Answer a routed call by the sources of `tools.mode`. An error of a source becomes an answer."""
        ...


class ToolSessionFactory(Protocol):
    """Creates tool sessions; an open broker is one."""

    def session(self, task: Task) -> ToolSession:
        """Create the session of a task."""
        ...


class Simulator(Protocol):
    """Settings of a model that simulates tools."""

    def checksum(self) -> str:
        """Return the hex sha256 of everything that determines its answers."""
        ...

    def open(self, examples: Examples) -> AbstractAsyncContextManager[Any]:
        """Open the live simulator, a ToolSource. Raises ConfigError, MissingError or UnreachableError."""
        ...


class ToolsOption(Protocol):
    """Settings of the broker that answers tool calls."""

    @property
    def mode(self) -> str:
        """Name of the set of sources that answer."""
        ...

    @property
    def recordings(self) -> tuple[Path, ...]:
        """JSONL files of recorded answers."""
        ...

    @property
    def recorded_answers(self) -> Any:
        """Published answers of StableToolBench, None if not used."""
        ...

    @property
    def replica(self) -> Any:
        """Embedded copy of the service, None if not used."""
        ...

    def open(self, tasks: Sequence[Task] = ()) -> AbstractAsyncContextManager[Any]:
        """Open the live broker. Raises ConfigError or MissingError."""
        ...
