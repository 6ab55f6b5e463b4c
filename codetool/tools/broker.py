"""The broker: answers the tool calls of sandboxed code, from recordings, a replica, a simulator or live services.

The broker routes each request to a documented tool, checks the allow-list and the task's call budget, and returns the
answer of the first source of `tools.mode` that has one. Failures are answers too, with an error status and a message;
nothing is raised into the sandbox.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import (
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SkipValidation,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.interfaces import Simulator, ToolSource
from codetool.runs.operational import Checksummed, Operational
from codetool.tools.allow_list import AllowList, extract_host, is_host
from codetool.tools.answer_counts import AnswerCounts, AnswerTally, BrokerCounts
from codetool.tools.live_source import LiveSource
from codetool.tools.recordings import Recordings, RecordingSource, open_record_file
from codetool.tools.secrets import HOW_TO_ADD, Keyring, Secret, flatten_secrets
from codetool.tools.signing_transport import open_client
from codetool.tools.simulator import ModelSimulator, NoSimulator
from codetool.tools.sources import CountedSourceConfig, ExampleSource, LiveProxyConfig
from codetool.tools.task_recordings import FreshRecordings, ReplaySource, UnchangedHostSource
from codetool.tools.task_session import TaskSession
from codetool.tools.writes import TaskWrites, mark_effects
from codetool.types import JSON, Task, ToolCall

log = logging.getLogger(__name__)


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True),
)
class BrokerConfig:
    """Settings of the broker (`tools.*`)."""

    mode: Literal["offline", "strict", "simulated", "live"]
    """Sources and their order. offline: recordings, then replica; strict: recordings only; simulated: as offline, then
    the simulator; live: recordings, then the live service. Simulated and live answers are recorded."""
    allowed_hosts: tuple[str, ...] | None
    """Hosts that may be called, `host` (every port) or `host:port`; null: the hosts of the task's tools."""
    max_calls: PositiveInt
    """Maximum number of calls that one task may make over all branches."""
    recordings: Annotated[tuple[Path, ...], Checksummed]
    """JSONL files of recorded answers to read; a later file overrides an earlier one."""
    record_to: Annotated[Path | None, Operational]
    """JSONL file to which live and simulated modes append answers, and which they read first; null: not recorded."""
    recorded_answers: ToolSource | None
    """Source of published answers, asked in every mode after the recordings; null: none."""
    replica: ToolSource | None
    """Embedded copy of the service; null: none."""
    simulator: Annotated[SkipValidation[Simulator | NoSimulator], Operational]
    """The model that answers in mode simulated when no other source does."""
    tool_proxy: SkipValidation[LiveProxyConfig | None]
    """Proxy through which live services are called; null: they are called directly."""
    connect_timeout: Annotated[PositiveFloat, Operational]
    """Seconds until a live host must have accepted the connection."""
    timeout: Annotated[PositiveFloat, Operational]
    """Seconds until the first byte of a live answer, and again until its last."""
    retries: Annotated[NonNegativeInt, Operational]
    """Number of retries of a live read after 429, 5xx, a time-out, a lost connection or malformed JSON."""
    backoff: Annotated[NonNegativeFloat, Operational]
    """Seconds before the first retry, doubled for each further one."""
    max_bytes: PositiveInt
    """Maximum size of a live answer's body in bytes."""
    connections: Annotated[PositiveInt, Operational]
    """Maximum number of live connections open at the same time."""
    secrets: Annotated[Mapping[str, Secret], Operational]
    """Secrets of hosts that need one, by any name, or by the host itself if the secret has no `host`; plain http
    carries a secret only to a `host:port`."""
    reads: tuple[str, ...] = ()
    """Operations that change nothing although their method is not GET, written `POST /search` or `POST_search`."""
    writes: tuple[str, ...] = ()
    """Operations that change something although their method is GET."""

    @model_validator(mode="after")
    def _check_simulator_matches_mode(self) -> Self:
        if self.mode == "simulated" and isinstance(self.simulator, NoSimulator):
            raise ValueError("tools.mode=simulated wants a simulator: simulator=openai simulator.model=NAME")
        if self.mode != "simulated" and not isinstance(self.simulator, NoSimulator):
            raise ValueError(f"tools.mode={self.mode} asks no simulator: use tools.mode=simulated, or simulator=none")
        return self

    @field_validator("recorded_answers", "replica", mode="before")
    @classmethod
    def _check_source_methods(cls, source: Any) -> Any:
        missing = [name for name in ("answer", "checksum") if not hasattr(source, name)]
        if source is not None and missing:
            methods = " and ".join(f"{name}()" for name in missing)
            raise ValueError(f"no ToolSource (codetool.interfaces): {type(source).__name__} has no {methods}")
        return source

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        invalid = [host for host in hosts or () if not is_host(host)]
        if invalid:
            raise ValueError(f"an entry is `host` or `host:port`, not {', '.join(map(repr, invalid))}")
        return hosts

    @field_validator("secrets", mode="before")
    @classmethod
    def _flatten_secrets(cls, secrets: Any) -> Any:
        return flatten_secrets(secrets) if isinstance(secrets, Mapping) else secrets

    @field_validator("secrets")
    @classmethod
    def _check_secret_hosts(cls, secrets: Mapping[str, Secret]) -> Mapping[str, Secret]:
        for name, secret in secrets.items():
            if secret.host is None and not is_host(name):
                raise ValueError(f"the name of a secret without a host is `host` or `host:port`, not {name!r}")
            if secret.host is None and not re.search(r"[.:]|^localhost$", name):
                raise ValueError(f"the secret {name!r} has no host. {HOW_TO_ADD}")
        return secrets

    @asynccontextmanager
    async def open(self, tasks: Sequence[Task] = ()) -> AsyncIterator[Broker]:
        """Read the recordings and open the broker; its connections are closed on leaving.

        Raises MissingError if a recordings file does not exist, and in live mode if the key of an allowed host (a host
        of `tasks` if `allowed_hosts` is null) is not in the environment. Raises ConfigError if a file has a wrong
        format or cannot be written.
        """
        self._check_marked_operations(tasks)
        keyring = Keyring(self._secrets_to_scrub(), os.environ)
        records = self.record_to is not None and self.mode in ("live", "simulated")
        record_files = open_record_file(self.record_to) if self.record_to and records else []
        files = [*self.recordings, *record_files]
        if self.mode == "live":
            self._require_keys(keyring, tasks)
            async with open_client(
                keyring, connect_timeout=self.connect_timeout, timeout=self.timeout, connections=self.connections
            ) as client:
                yield Broker(self, Recordings.load(files), keyring, client=client)
        elif isinstance(self.simulator, NoSimulator):
            yield Broker(self, Recordings.load(files), keyring)
        else:
            recordings = Recordings.load(files, self.simulator.checksum())
            async with self.simulator.open(self._list_examples) as simulation:
                yield Broker(self, recordings, keyring, simulation=simulation)

    def _secrets_to_scrub(self) -> Mapping[str, Secret]:
        """The hosts' secrets, and the proxy's: it adds its key itself, but the key is removed from answers here."""
        if self.tool_proxy is None or self.mode != "live":
            return self.secrets
        carried = Secret(env=self.tool_proxy.key_env, header="toolbench_key", query=None, format="{key}")
        return {**self.secrets, self.tool_proxy.host: carried}

    def _check_marked_operations(self, tasks: Sequence[Task]) -> None:
        """Warn about operations in `reads` or `writes` that no task has. Raises ConfigError for one that is in both."""
        operations = {name for task in tasks for tool in task.tools for name in (tool.endpoint, tool.name)}
        both = sorted({*self.reads} & {*self.writes})
        unknown = [name for name in (*self.reads, *self.writes) if tasks and name not in operations]
        if both:
            raise ConfigError(f"tools.reads and tools.writes both name {', '.join(both)}")
        if unknown:
            close = [match for name in unknown for match in get_close_matches(name, operations, n=1, cutoff=0.5)]
            guess = f" Did you mean {', '.join(close)}?" if close else ""
            log.warning(
                "tools.reads and tools.writes name documented operations, such as 'POST /search'; no task has %s.%s",
                ", ".join(map(repr, unknown)),
                guess,
            )

    def _require_keys(self, keyring: Keyring, tasks: Sequence[Task]) -> None:
        if self.tool_proxy is not None:
            self.tool_proxy.require_key()
        else:
            keyring.require(self.build_allow_list([tool.server for task in tasks for tool in task.tools]))

    def _list_examples(self, call: ToolCall, max_examples: int) -> Sequence[tuple[Mapping[str, JSON], JSON]]:
        """Up to `max_examples` recorded calls of the same operation from the published answers."""
        return (
            self.recorded_answers.examples(call, max_examples)
            if isinstance(self.recorded_answers, ExampleSource)
            else ()
        )

    def build_allow_list(self, servers: Sequence[str]) -> AllowList:
        """The hosts that a task may call whose tools have these servers."""
        if self.allowed_hosts is not None:
            return AllowList.from_hosts(self.allowed_hosts)
        return AllowList.from_hosts(host for host in map(extract_host, servers) if host)


class Broker:
    """An open broker: it creates a session for each task and counts the answers of all sessions."""

    def __init__(
        self,
        settings: BrokerConfig,
        recordings: Recordings,
        keyring: Keyring,
        *,
        client: httpx.AsyncClient | None = None,
        simulation: ModelSimulator | None = None,
    ) -> None:
        """Takes `client` in live mode and `simulation` in simulated mode."""
        self._settings = settings
        self._recordings = recordings
        self._keyring = keyring
        self._client = client
        self._connections = asyncio.Semaphore(settings.connections)
        self._simulation = self._record_answers(simulation) if simulation else None
        self._total = AnswerTally()
        self.source_counts: Counter[str] = Counter()
        """Number of calls by how the published answers were found, so far."""

    def session(self, task: Task) -> TaskSession:
        """Create the session of one task. Raises MissingError in live mode if a key of its hosts is not set."""
        allowed = self._settings.build_allow_list([tool.server for tool in task.tools])
        writes = TaskWrites(task.id)
        published = self._settings.recorded_answers
        counted = published.open_counted() if isinstance(published, CountedSourceConfig) else None
        return TaskSession(
            task,
            self._list_sources(allowed, writes, counted or published),
            allowed=allowed,
            max_calls=self._settings.max_calls,
            mode=self._settings.mode,
            keyring=self._keyring,
            total=self._total,
            writes=writes,
            tools=mark_effects(task.tools, self._settings.reads, self._settings.writes),
            sends_requests=self._client is not None and self._settings.tool_proxy is None,
            counted=counted,
            source_counts=self.source_counts,
        )

    def summary(self) -> AnswerCounts:
        """The counts of all answers so far."""
        return self.count_answers().summary()

    def count_answers(self) -> BrokerCounts:
        """All counts so far."""
        return BrokerCounts(self._total, self.source_counts, len(self._recordings))

    def _list_sources(self, allowed: AllowList, writes: TaskWrites, published: ToolSource | None) -> list[ToolSource]:
        """The sources of the mode, in the order in which they are asked."""
        settings = self._settings
        if self._client:
            recorded: list[ToolSource] = [FreshRecordings(self._recordings)]
            recorded += [published] if published else []
            live = self._open_live_source(self._client, allowed, writes)
            return [*(UnchangedHostSource(source, writes) for source in recorded), live]
        replica = settings.replica if settings.mode in ("offline", "simulated") else None
        sources = (ReplaySource(self._recordings, writes), published, replica, self._simulation)
        return [source for source in sources if source is not None]

    def _open_live_source(self, client: httpx.AsyncClient, allowed: AllowList, writes: TaskWrites) -> ToolSource:
        settings, proxy = self._settings, self._settings.tool_proxy
        if proxy is None:
            self._keyring.require(allowed)
        source = LiveSource(
            client,
            self._keyring,
            AllowList.from_hosts([proxy.host]) if proxy else allowed,
            deadline=settings.connect_timeout + 2 * settings.timeout,
            retries=settings.retries,
            backoff=settings.backoff,
            max_bytes=settings.max_bytes,
            connections=self._connections,
        )
        return self._record_answers(proxy.source(source) if proxy else source, writes)

    def _record_answers(self, source: ToolSource, writes: TaskWrites | None = None) -> ToolSource:
        file = self._settings.record_to
        return RecordingSource(source, self._recordings, file, writes) if file else source
