"""A PRM behind HTTP: a server of `stage=serve_prm`, or a server like the reference implementation's.

A server of `stage=serve_prm` is recognised by its `/health` and scores all siblings in one request:
`POST {base_url}/score {"messages": [chat, ...]}` returns `{"scores": [number, ...], "tokens": computed, "tokens_asked":
with those in its cache}`. Any other server gets one request per candidate:
`POST {base_url}/generate {"index": i, "messages": [system, user]}` returns `{"response": number}`. It has no token
count, so no tokens are counted. A number outside [0, 1] is an error, since it is not a probability.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Self

import httpx
from pydantic import (
    AfterValidator,
    ConfigDict,
    InstanceOf,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

from codetool.http.addresses import Addresses, list_addresses
from codetool.http.reachability import reject_secrets_in_url
from codetool.http.replicas import ReplicaSet
from codetool.http.retry import RetryPolicy
from codetool.interfaces import ModelServers, ScoringPrompt
from codetool.model_types import Scores
from codetool.prm.remote_server import PRMServer
from codetool.runs.operational import Operational
from codetool.types import Execution, Node, Step, Task


def _check_schemes(addresses: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for address in list_addresses(addresses):
        if not re.match(r"https?://[^/\s]+", address):
            raise ValueError(f"{address!r} should begin with http:// or https:// and name a host")
    return addresses


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class RemotePRMConfig:
    """Settings of a PRM behind HTTP: address, prompt, timeouts and retries."""

    model: str
    """Name of the model on the server, freely chosen; it alone distinguishes the results of different servers."""
    base_url: Annotated[Addresses, AfterValidator(_check_schemes), Operational]
    """URL of the server, without `/score` or `/generate`. Several URLs are replicas of one model: each task is sent to
    one of them, and to another if that one fails."""
    prompt: InstanceOf[ScoringPrompt]
    """Prompt of the PRM."""
    connect_timeout: Annotated[PositiveFloat, Operational]
    """Maximum time to connect, in seconds."""
    timeout: Annotated[PositiveFloat, Operational]
    """Maximum time to wait for each byte of a response, in seconds; the whole response may take twice as long."""
    retries: Annotated[NonNegativeInt, Operational]
    """Number of retries after a timeout, a lost connection, a status 408, 429 or 5xx, or a response without a score."""
    backoff: Annotated[NonNegativeFloat, Operational]
    """Delay before the first retry in seconds, doubled for each further retry; the server may ask for a longer one."""
    concurrency: Annotated[PositiveInt, Operational]
    """Maximum number of concurrent requests."""
    parameters: Annotated[PositiveInt | None, Operational] = None
    """Number of parameters of the model, for counts of floating-point operations; None if unknown."""

    @model_validator(mode="after")
    def _hold_no_secret(self) -> Self:
        advice = "this server is sent no key; let a proxy of yours add it"
        for address in list_addresses(self.base_url):
            reject_secrets_in_url("prm.base_url", address, instead=advice)
        return self

    def count_parameters(self) -> int | None:
        """Return the number of parameters of the model, None if it is unknown."""
        return self.parameters

    def checksum(self) -> None:
        """None: the weights on the server are not known; `model` names them."""

    def weights(self) -> None:
        """None: the server is already running."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[RemotePRM]:
        """Connect to the server and yield the PRM.

        Raises UnreachableError if `base_url` does not respond or is overloaded, and ConfigError if the server reports
        that its model was trained with another prompt.
        """
        addresses = list_addresses(self.base_url)
        members = [self._make_server(address, is_single=len(addresses) == 1) for address in addresses]
        async with ReplicaSet("prm.base_url", members, service="prm", backoff=self.backoff) as replicas:
            yield RemotePRM(self.prompt, replicas)

    def _make_server(self, address: str, *, is_single: bool) -> PRMServer:
        timeout = httpx.Timeout(self.timeout, connect=self.connect_timeout, pool=None)
        policy = RetryPolicy(
            self.retries, self.backoff, max_delay=self.timeout, service="prm", counts_given_up=is_single
        )
        return PRMServer(address, self.prompt, timeout, self.concurrency, policy)


class RemotePRM:
    """A PRM that asks an HTTP server for scores."""

    def __init__(self, prompt: ScoringPrompt, servers: ReplicaSet[PRMServer]) -> None:
        """Take the prompt and the servers."""
        self._prompt, self._servers = prompt, servers
        self.sees_observation = servers.find_ready().sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the server's score of each candidate; 0 for a prompt that the server refuses as too large.

        Raises UnreachableError if no server answers, and CodeToolError if one does not return a probability.
        """
        shown: Sequence[Execution | None] = executions or [None] * len(candidates)
        chats = [self._prompt.messages(task, path, step, ran) for step, ran in zip(candidates, shown, strict=True)]
        name = f"{task.id}, step {len(path) + 1}"
        return await self._servers.call(task.id, lambda server: server.score(chats, name))
