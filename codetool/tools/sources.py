"""What a source of tool answers may do beyond answering: the broker asks for it by these Protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from codetool.interfaces import ToolSource
from codetool.types import JSON, ToolCall


@runtime_checkable
class ExampleSource(Protocol):
    """A ToolSource that can show other recorded calls of an operation, which a simulator learns from."""

    def examples(self, call: ToolCall, most: int) -> Sequence[tuple[Mapping[str, JSON], JSON]]:
        """Arguments and data of up to `most` other recorded calls of the same operation."""
        ...


@runtime_checkable
class CountingSource(Protocol):
    """A ToolSource that counts how it found its answers."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many calls were found in which way."""
        ...


@runtime_checkable
class LiveProxy(Protocol):
    """Settings of the way to live services that are not asked themselves (`tools.live`)."""

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
