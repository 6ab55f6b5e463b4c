"""The broker: the one way from sandboxed steps to tools.

A request is routed, held against the allow-list and the task's budget, and answered by the first source of `tools.mode`
that knows an answer. Whatever goes wrong is an answer to learn from; nothing is raised into the sandbox.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.interfaces import ToolSource
from codetool.tools.hosts import AllowList, host_of, is_host
from codetool.tools.live import LiveSource
from codetool.tools.recorded import Recorder, Recordings, writable
from codetool.tools.secrets import Keyring, Secret
from codetool.tools.session import TaskTools
from codetool.tools.tally import Summary, Tally
from codetool.tools.transport import open_client
from codetool.types import Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Tools:
    """Settings of the broker."""

    mode: Literal["offline", "strict", "live"]
    """Which sources are asked: offline: recorded, else replica; strict: recorded only; live: recorded, else live, and
    recorded."""
    allowed_hosts: tuple[str, ...] | None
    """Hosts that may be called, `host` (every port) or `host:port`; null: the hosts of the task's tools."""
    max_calls: PositiveInt
    """Calls that one task may make, over all branches."""
    recordings: tuple[Path, ...]
    """JSONL files of recorded answers to read; a later file wins."""
    record_to: Path | None
    """JSONL file that live mode adds answers to, and reads before it asks; null: not kept."""
    replica: ToolSource | None
    """The service's embedded copy; null: none."""
    connect_timeout: PositiveFloat
    """Seconds until a live host has accepted."""
    timeout: PositiveFloat
    """Seconds until its first byte, and again until its last."""
    retries: NonNegativeInt
    """Further attempts of a live read after 429, 5xx, a time-out or a lost connection."""
    backoff: NonNegativeFloat
    """Seconds before the first further attempt, doubled for each next one."""
    max_bytes: PositiveInt
    """Largest body of a live answer in bytes."""
    connections: PositiveInt
    """Live connections open at a time."""
    secrets: Mapping[str, Secret]
    """The secret of each host that wants one, by `host` or `host:port`; plain http carries it only to `host:port`."""

    @field_validator("mode", mode="before")
    @classmethod
    def _no_simulator_yet(cls, mode: Any) -> Any:
        if mode == "simulated":
            raise ValueError("it comes with the simulator, which this version lacks; use offline, strict or live")
        return mode

    @field_validator("allowed_hosts", "secrets")
    @classmethod
    def _hosts_only(cls, hosts: Any) -> Any:
        wrong = [host for host in hosts or () if not is_host(host)]
        if wrong:
            raise ValueError(f"an entry is `host` or `host:port`, not {', '.join(map(repr, wrong))}")
        return hosts

    @asynccontextmanager
    async def open(self, tasks: Sequence[Task] = ()) -> AsyncIterator[Broker]:
        """The broker, with its files read; its connections are closed at the end.

        Raises MissingError for a recordings file that is not there, and in live mode for an allowed host (where
        `allowed_hosts` is null: a host of `tasks`) whose secret's variable is unset. Raises ConfigError for files that
        hold something else, or cannot be written.
        """
        keyring = Keyring(self.secrets, os.environ)
        if self.mode != "live":
            yield Broker(self, Recordings.read(self.recordings), keyring, None)
            return
        keyring.require(self.allowed([tool.server for task in tasks for tool in task.tools]))
        own = [writable(self.record_to)] if self.record_to else []
        async with open_client(
            keyring, connect_timeout=self.connect_timeout, timeout=self.timeout, connections=self.connections
        ) as client:
            yield Broker(self, Recordings.read([*self.recordings, *own]), keyring, client)

    def allowed(self, servers: Sequence[str]) -> AllowList:
        """The hosts that may be called by a task whose tools have these servers."""
        if self.allowed_hosts is not None:
            return AllowList.of(self.allowed_hosts)
        return AllowList.of(host for host in map(host_of, servers) if host)


class Broker:
    """An open broker; it hands a session to each task and counts what all of them did."""

    def __init__(
        self, settings: Tools, recordings: Recordings, keyring: Keyring, client: httpx.AsyncClient | None
    ) -> None:
        """Takes a client in live mode and None in the others."""
        self._settings = settings
        self._recordings = recordings
        self._keyring = keyring
        self._client = client
        self._total = Tally()

    def session(self, task: Task) -> TaskTools:
        """The tools of one task. Raises MissingError in live mode if the key of one of its hosts is not set."""
        allowed = self._settings.allowed([tool.server for tool in task.tools])
        return TaskTools(
            task,
            self._sources(allowed),
            allowed=allowed,
            max_calls=self._settings.max_calls,
            mode=self._settings.mode,
            keyring=self._keyring,
            total=self._total,
        )

    def summary(self) -> Summary:
        """The counts of all answers so far."""
        return self._total.summary()

    def _sources(self, allowed: AllowList) -> list[ToolSource]:
        """The sources of the mode in the order in which they are asked."""
        if self._client is not None:
            self._keyring.require(allowed)
            return [self._recordings, self._live(self._client, allowed)]
        if self._settings.mode == "offline" and self._settings.replica is not None:
            return [self._recordings, self._settings.replica]
        return [self._recordings]

    def _live(self, client: httpx.AsyncClient, allowed: AllowList) -> ToolSource:
        source = LiveSource(
            client,
            self._keyring,
            allowed,
            deadline=self._settings.connect_timeout + 2 * self._settings.timeout,
            retries=self._settings.retries,
            backoff=self._settings.backoff,
            max_bytes=self._settings.max_bytes,
        )
        file = self._settings.record_to
        return Recorder(source, self._recordings, file) if file else source
