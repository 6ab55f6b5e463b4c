"""Optional abilities of tool sources, as Protocols: examples for a simulator, counts, serving, and a live proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from codetool.interfaces import ToolSessionFactory, ToolSource
from codetool.types import JSON, ToolCall

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@runtime_checkable
class ExampleSource(Protocol):
    """A ToolSource that can list other recorded calls of an operation, as examples for a simulator."""

    def examples(self, call: ToolCall, max_examples: int) -> Sequence[tuple[Mapping[str, JSON], JSON]]:
        """Arguments and data of up to `max_examples` other recorded calls of the same operation."""
        ...


class CountingSource(ToolSource, Protocol):
    """A ToolSource that counts how it finds its answers."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of calls by the way in which the answer was found."""
        ...


@runtime_checkable
class CountedSourceConfig(Protocol):
    """Settings of a counting ToolSource; each run opens its own."""

    def open_counted(self) -> CountingSource:
        """Open the source with all counts at zero."""
        ...


class CountingSessionFactory(ToolSessionFactory, Protocol):
    """An open broker, as far as a server over its sources needs it."""

    @property
    def source_counts(self) -> Mapping[str, int]:
        """Number of calls by how the published answers were found, so far."""
        ...


@runtime_checkable
class ServableTools(Protocol):
    """A replica or published answers that stage=serve_tools can serve."""

    KEY: str
    """Environment variable of the API key that may be required."""
    ENTRY: str
    """Message about the served addresses; `{url}` stands for the server's URL."""

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: CountingSessionFactory) -> ASGIApp:
        """Return the ASGI app. The environment may hold the required key; the broker holds the mode's sources."""
        ...


@runtime_checkable
class LiveProxyConfig(Protocol):
    """Settings of a proxy through which live services are called (`tools.tool_proxy`)."""

    @property
    def key_env(self) -> str:
        """Environment variable that holds the proxy's key."""
        ...

    @property
    def host(self) -> str:
        """`host` or `host:port` of the proxy's URL."""
        ...

    def require_key(self) -> None:
        """Raise MissingError if the environment has no key."""
        ...

    def source(self, live: ToolSource) -> ToolSource:
        """A source that calls the proxy through the live source `live`."""
        ...
