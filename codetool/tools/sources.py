"""What a source of tool answers may do beyond answering: the broker asks for it by these Protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from codetool.interfaces import ToolSessionFactory, ToolSource
from codetool.types import JSON, ToolCall


@runtime_checkable
class ExampleSource(Protocol):
    """A ToolSource that can show other recorded calls of an operation, which a simulator learns from."""

    def examples(self, call: ToolCall, most: int) -> Sequence[tuple[Mapping[str, JSON], JSON]]:
        """Arguments and data of up to `most` other recorded calls of the same operation."""
        ...


class CountingSource(ToolSource, Protocol):
    """A ToolSource that counts how it finds its answers."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many calls were found in which way."""
        ...


@runtime_checkable
class CountedSourceConfig(Protocol):
    """Settings of a ToolSource that counts; each run has its own counts."""

    def open_counted(self) -> CountingSource:
        """The same answers, counted from now on."""
        ...


class CountingSessionFactory(ToolSessionFactory, Protocol):
    """An open broker, as a server over its sources needs it."""

    @property
    def source_counts(self) -> Mapping[str, int]:
        """How calls were found by the published answers, up to now."""
        ...


@runtime_checkable
class LiveProxyConfig(Protocol):
    """Settings of the way to live services that are not asked themselves (`tools.tool_proxy`)."""

    @property
    def key_env(self) -> str:
        """Environment variable that holds the proxy's key."""
        ...

    @property
    def host(self) -> str:
        """`host` or `host:port` of its address."""
        ...

    def require_key(self) -> None:
        """Raise MissingError where the environment has no key."""
        ...

    def source(self, live: ToolSource) -> ToolSource:
        """What asks the proxy through a live source."""
        ...
