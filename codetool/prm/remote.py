"""A PRM behind HTTP, spoken to as the reference implementation's server is: one request per candidate.

`POST {base_url}/generate {"index": i, "messages": [system, user]}` is answered by `{"response": number}`. The server
says nothing of tokens, so none are counted. A number outside [0, 1] is an error, not something to repair: it comes from
a server that does not report a probability.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Self

import httpx
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.concurrency import together
from codetool.errors import CodeToolError, UnreachableError
from codetool.http_pools import HttpPools
from codetool.interfaces import ModelServers
from codetool.prompts import JudgePrompt, Message
from codetool.reach import reachable_url, refuse_password
from codetool.types import Execution, Node, Scores, Step, Task

BUSY = frozenset({408, 429})
"""Client errors (RFC 9110, RFC 6585) that mean: ask again later."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RemotePRM:
    """Where the server listens, what it is asked, and how patiently."""

    model: str
    """What the server runs, in words of one's own: nothing else tells the results of two servers apart."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
    """Address below which `/generate` answers."""
    prompt: JudgePrompt
    """What the PRM reads."""
    connect_timeout: PositiveFloat
    """Longest wait for a connection in seconds."""
    timeout: PositiveFloat
    """Longest wait for an answer in seconds."""
    retries: NonNegativeInt
    """Further attempts after a time-out, a lost connection, or a status 408, 429 or 5xx."""
    pause: PositiveFloat
    """Seconds before the first further attempt; doubled before each one after it."""
    concurrency: PositiveInt
    """Highest number of requests in flight."""

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        refuse_password("prm", self.base_url, instead="this server is sent no key; let a proxy of yours add it")
        return self

    def checksum(self) -> None:
        """None: what the server runs is its own affair, and `model` names it."""

    def weights(self) -> None:
        """None: the server is already running."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[_Client]:
        """The live PRM.

        Raises UnreachableError if nobody answers HTTP at `base_url`; any answer will do.
        """
        await reachable_url(self.base_url)
        timeout = httpx.Timeout(self.timeout, connect=self.connect_timeout, pool=None)
        async with HttpPools(concurrency=self.concurrency, timeout=timeout) as http:
            try:
                await http.request("GET", self.base_url)
            except httpx.TransportError as error:
                raise UnreachableError(
                    f"prm.base_url={self.base_url}: no answer ({_words(error)}). "
                    "Start the PRM server there, or give the address of a running one."
                ) from error
            yield _Client(self, http)


class _Client:
    """The live side of `RemotePRM`."""

    sees_observation = False

    def __init__(self, settings: RemotePRM, http: HttpPools) -> None:
        self._settings, self._http = settings, http

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The server's number for each candidate.

        Raises UnreachableError if it stays away and CodeToolError if it answers anything but a probability.
        """
        chats = [self._settings.prompt.messages(task, path, step) for step in candidates]
        return Scores(tuple(await together(self._ask(i, chat) for i, chat in enumerate(chats))))

    async def _ask(self, index: int, messages: list[Message]) -> float:
        return self._number(await self._post({"index": index, "messages": messages}))

    async def _post(self, body: dict[str, object]) -> httpx.Response:
        url, problem = f"{self._settings.base_url.rstrip('/')}/generate", ""
        for attempt in range(self._settings.retries + 1):
            if attempt:
                await asyncio.sleep(self._settings.pause * 2 ** (attempt - 1))
            try:
                response = await self._http.request("POST", url, body)
            except httpx.TransportError as error:
                problem = _words(error)
                continue
            if response.status_code < 500 and response.status_code not in BUSY:
                return response
            problem = f"HTTP {response.status_code}"
        raise UnreachableError(f"{url}: {problem}, {self._settings.retries + 1} times in a row. Is the PRM still up?")

    def _number(self, response: httpx.Response) -> float:
        try:
            value = response.raise_for_status().json()["response"]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise CodeToolError(
                f"{response.url} answered HTTP {response.status_code} {response.text[:200]!r}; "
                '{"response": number} is needed. Does prm.base_url name a PRM server?'
            ) from error
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise CodeToolError(
                f"{response.url} answered response={value!r}; a probability in [0, 1] is needed. "
                "Let the server return the softmax over its two label tokens."
            )
        return float(value)


def _words(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
