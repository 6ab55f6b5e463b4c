"""A PRM behind HTTP: a server of `stage=serve_prm`, or one of the reference implementation's kind.

The first is told by its `/health`, and gets all siblings at once: `POST {base_url}/score {"messages": [chat, ...]}` is
answered by `{"scores": [number, ...], "tokens": really read}`. Any other gets one request per candidate:
`POST {base_url}/generate {"index": i, "messages": [system, user]}` is answered by `{"response": number}`, which says
nothing of tokens, so none are counted. A number outside [0, 1] is an error, not something to repair: it comes from a
server that does not report a probability.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

import httpx
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool import trained_prompt
from codetool.concurrency import together
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.http_pools import HttpPools
from codetool.interfaces import ModelServers
from codetool.operational import Operational
from codetool.prompts import JudgePrompt, Message
from codetool.reach import reachable_url, refuse_password
from codetool.types import Execution, Node, Scores, Step, Task

log = logging.getLogger(__name__)

BUSY = frozenset({408, 429})
"""Client errors (RFC 9110, RFC 6585) that mean: ask again later."""
TOO_LARGE = 413


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RemotePRM:
    """Where the server listens, what it is asked, and how patiently."""

    model: str
    """What the server runs, in words of one's own: nothing else tells the results of two servers apart."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+"), Operational]
    """Address below which `/score` or `/generate` answers."""
    prompt: JudgePrompt
    """What the PRM reads."""
    connect_timeout: Annotated[PositiveFloat, Operational]
    """Longest wait for a connection in seconds."""
    timeout: Annotated[PositiveFloat, Operational]
    """Longest wait for an answer in seconds."""
    retries: Annotated[NonNegativeInt, Operational]
    """Further attempts after a time-out, a lost connection, or a status 408, 429 or 5xx."""
    pause: Annotated[PositiveFloat, Operational]
    """Seconds before the first further attempt, doubled before each one after it; a server may name another time."""
    concurrency: Annotated[PositiveInt, Operational]
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

        Raises UnreachableError if nobody answers HTTP at `base_url` (any answer will do), ConfigError if the server
        says that its model was trained with another prompt.
        """
        await reachable_url(self.base_url)
        timeout = httpx.Timeout(self.timeout, connect=self.connect_timeout, pool=None)
        async with HttpPools(concurrency=self.concurrency, timeout=timeout) as http:
            try:
                health = await http.request("GET", f"{self.base_url.rstrip('/')}/health")
            except httpx.TransportError as error:
                raise UnreachableError(
                    f"prm.base_url={self.base_url}: no answer ({_words(error)}). "
                    "Start the PRM server there, or give the address of a running one."
                ) from error
            said = _read_health(health)
            self._refuse_other_prompt(said)
            yield _Client(self, http, _most_chats(said))

    def _refuse_other_prompt(self, said: Mapping[str, Any]) -> None:
        """Raise ConfigError if the server's model was trained with another prompt than `prompt`."""
        trained = said.get("prompt")
        if not trained_prompt.is_record(trained):
            return  # of another kind or an earlier version: it does not say
        source = f"the model of prm.base_url={self.base_url}"
        if problem := trained_prompt.explain_mismatch("prm", source, trained, self.prompt):
            raise ConfigError(problem)


class _Client:
    """The live side of `RemotePRM`."""

    sees_observation = False

    def __init__(self, settings: RemotePRM, http: HttpPools, most: int | None) -> None:
        """`most` is how many chats a request to `/score` may have; None where there is no `/score`."""
        self._settings, self._http, self._most = settings, http, most

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The server's number for each candidate. A prompt beyond the context of a server of ours scores 0.

        Raises UnreachableError if it stays away and CodeToolError if it answers anything but a probability.
        """
        chats = [self._settings.prompt.messages(task, path, step) for step in candidates]
        if self._most is None:
            return Scores(tuple(await together(self._ask(i, chat) for i, chat in enumerate(chats))))
        parts = [chats[begin : begin + self._most] for begin in range(0, len(chats), self._most)]
        answers = await together(self._batch(part, f"{task.id}, step {len(path) + 1}") for part in parts)
        values = tuple(value for answer in answers for value in answer.values)
        return Scores(values, sum(answer.tokens for answer in answers))

    async def _batch(self, chats: Sequence[list[Message]], name: str) -> Scores:
        """The scores of one request, or of its halves where it is too much for the server."""
        response = await self._post("/score", {"messages": chats})
        if response.status_code == TOO_LARGE and len(chats) > 1:
            half = len(chats) // 2
            first, second = await together(self._batch(part, name) for part in (chats[:half], chats[half:]))
            return Scores(first.values + second.values, first.tokens + second.tokens)
        if response.status_code == TOO_LARGE:
            log.warning("%s: the PRM server refuses the prompt: %s; it scores 0", name, response.text[:200])
            return Scores((0.0,))
        values, tokens = _read(response, "scores"), _read(response, "tokens")
        if not isinstance(values, list) or len(values) != len(chats) or not isinstance(tokens, int):
            raise CodeToolError(
                f"{response.url} answered scores={values!r} tokens={tokens!r}; a list of {len(chats)} numbers and one "
                "number are needed. Does prm.base_url name a server of this version?"
            )
        return Scores(tuple(_probability(response, value) for value in values), tokens)

    async def _ask(self, index: int, messages: list[Message]) -> float:
        response = await self._post("/generate", {"index": index, "messages": messages})
        if response.status_code == TOO_LARGE:
            log.warning("the PRM server refuses a prompt: %s; it scores 0", response.text[:200])
            return 0.0
        return _probability(response, _read(response, "response"))

    async def _post(self, path: str, body: dict[str, object]) -> httpx.Response:
        url, problem, told = f"{self._settings.base_url.rstrip('/')}{path}", "", None
        for attempt in range(self._settings.retries + 1):
            if attempt:
                await asyncio.sleep(self._settings.pause * 2 ** (attempt - 1) if told is None else told)
            told = None
            try:
                response = await self._http.request("POST", url, body)
            except httpx.TransportError as error:
                problem = _words(error)
                continue
            if response.status_code < 500 and response.status_code not in BUSY:
                return response
            problem, told = f"HTTP {response.status_code}", self._told(response)
        raise UnreachableError(f"{url}: {problem}, {self._settings.retries + 1} times in a row. Is the PRM still up?")

    def _told(self, response: httpx.Response) -> float | None:
        """Seconds to wait, as the server names them (RFC 9110, 10.2.3), an answer's time-out at most."""
        named = response.headers.get("Retry-After", "")
        return min(float(named), self._settings.timeout) if named.isascii() and named.isdigit() else None


def _read_health(health: httpx.Response) -> Mapping[str, Any]:
    """What a server says of itself; nothing where it is of another kind."""
    try:
        said = health.json() if health.is_success else None
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _most_chats(said: Mapping[str, Any]) -> int | None:
    """Chats that one request to `/score` may have, None for a server of another kind."""
    if not isinstance(most := said.get("max_chats"), int) or most < 1:
        return None
    trained = "trained" if said.get("trained") else "untrained: it judges zero-shot"
    log.info("PRM server: %s, %s, checksum %s", said.get("model"), trained, said.get("checksum"))
    return most


def _read(response: httpx.Response, name: str) -> Any:
    """The member of the answer. Raises CodeToolError if there is none."""
    try:
        return response.raise_for_status().json()[name]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        shown = {"response": "number", "scores": "[number, …]", "tokens": "number"}[name]
        raise CodeToolError(
            f"{response.url} answered HTTP {response.status_code} {response.text[:200]!r}; "
            f'{{"{name}": {shown}}} is needed. Does prm.base_url name a PRM server?'
        ) from error


def _probability(response: httpx.Response, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise CodeToolError(
            f"{response.url} answered response={value!r}; a probability in [0, 1] is needed. "
            "Let the server return the softmax over its two label tokens."
        )
    return float(value)


def _words(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
