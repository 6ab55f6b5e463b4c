"""A PRM behind HTTP: a server of `stage=serve_prm`, or a server like the reference implementation's.

A server of `stage=serve_prm` is recognised by its `/health` and scores all siblings in one request:
`POST {base_url}/score {"messages": [chat, ...]}` returns `{"scores": [number, ...], "tokens": computed, "tokens_asked":
with those in its cache}`. Any other server gets one request per candidate:
`POST {base_url}/generate {"index": i, "messages": [system, user]}` returns `{"response": number}`. It has no token
count, so no tokens are counted. A number outside [0, 1] is an error, since it is not a probability.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self, TypeVar

import httpx
from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.http.bounded_body import MAX_SCORES_BYTES
from codetool.http.connection_pools import HttpPools
from codetool.http.proxies import find_proxy
from codetool.http.reachability import check_url, reject_secrets_in_url
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries, parse_retry_after
from codetool.interfaces import ModelServers
from codetool.model_types import Scores
from codetool.prompts import trained_prompt
from codetool.prompts.messages import Message
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.runs.operational import Operational
from codetool.types import Execution, Node, Step, Task

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRIED_STATUSES = frozenset({408, 429})
"""Client errors (RFC 9110, RFC 6585) after which a request can succeed if it is repeated later."""
TOO_LARGE = 413
"""HTTP status of a request that exceeds the server's limits."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class RemotePRMConfig:
    """Settings of a PRM behind HTTP: address, prompt, timeouts and retries."""

    model: str
    """Name of the model on the server, freely chosen; it alone distinguishes the results of different servers."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+"), Operational]
    """URL of the server, without `/score` or `/generate`."""
    prompt: PRMPrompt
    """Prompt of the PRM."""
    connect_timeout: Annotated[PositiveFloat, Operational]
    """Maximum time to connect, in seconds."""
    timeout: Annotated[PositiveFloat, Operational]
    """Maximum time to wait for a response, in seconds."""
    retries: Annotated[NonNegativeInt, Operational]
    """Number of retries after a timeout, a lost connection, a status 408, 429 or 5xx, or a response without a score."""
    backoff: Annotated[NonNegativeFloat, Operational]
    """Delay before the first retry in seconds, doubled for each further retry; the server may ask for a longer one."""
    concurrency: Annotated[PositiveInt, Operational]
    """Maximum number of concurrent requests."""

    @model_validator(mode="after")
    def _hold_no_secret(self) -> Self:
        advice = "this server is sent no key; let a proxy of yours add it"
        reject_secrets_in_url("prm.base_url", self.base_url, instead=advice)
        return self

    def url_for(self, path: str) -> str:
        """Return the URL of a path of the server; a query string in `base_url` stays at the end."""
        base, mark, query = self.base_url.partition("?")
        return f"{base.rstrip('/')}{path}{mark}{query}"

    def checksum(self) -> None:
        """None: the weights on the server are not known; `model` names them."""

    def weights(self) -> None:
        """None: the server is already running."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[RemotePRM]:
        """Connect to the server and yield the PRM.

        Raises UnreachableError if there is no HTTP response at all from `base_url`, and ConfigError if the server
        reports that its model was trained with another prompt.
        """
        url = await check_url(self.base_url)
        timeout = httpx.Timeout(self.timeout, connect=self.connect_timeout, pool=None)
        async with HttpPools(
            concurrency=self.concurrency, timeout=timeout, proxy=find_proxy(url), max_bytes=MAX_SCORES_BYTES
        ) as http:
            try:
                health = await http.request("GET", self.url_for("/health"))
            except httpx.TransportError as error:
                raise UnreachableError(
                    f"prm.base_url={self.base_url}: no answer ({_describe_error(error)}). "
                    "Start the PRM server there, or give the address of a running one."
                ) from error
            description = _read_health(health)
            self._check_prompt(description)
            yield RemotePRM(self, http, _read_max_chats(description))

    def _check_prompt(self, description: Mapping[str, Any]) -> None:
        """Raise ConfigError if the server's model was trained with another prompt than `prompt`."""
        trained = description.get("prompt")
        if not trained_prompt.is_prompt_record(trained):
            return  # of another kind or an earlier version: it does not say
        source = f"the model of prm.base_url={self.base_url}"
        if problem := trained_prompt.explain_mismatch("prm", source, trained, self.prompt):
            raise ConfigError(problem)


class _UnreadableError(RetryableError):
    """A successful response that contains no score."""


class RemotePRM:
    """A PRM that asks an HTTP server for scores."""

    sees_observation = False

    def __init__(self, settings: RemotePRMConfig, http: HttpPools, max_chats: int | None) -> None:
        """Store the client; `max_chats` limits the chats of one request to `/score`; None without `/score`."""
        self._settings, self._http, self._max_chats = settings, http, max_chats

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the server's score of each candidate; 0 for a prompt that the server refuses as too large.

        Raises UnreachableError if the server keeps failing, and CodeToolError if it does not return a probability.
        """
        chats = [self._settings.prompt.messages(task, path, step) for step in candidates]
        if self._max_chats is None:
            return Scores(tuple(await gather_or_cancel(self._score_one(i, chat) for i, chat in enumerate(chats))))
        parts = [chats[begin : begin + self._max_chats] for begin in range(0, len(chats), self._max_chats)]
        answers = await gather_or_cancel(self._score_batch(part, f"{task.id}, step {len(path) + 1}") for part in parts)
        return _merge_scores(answers)

    async def _score_batch(self, chats: Sequence[list[Message]], name: str) -> Scores:
        """Return the scores of one request; if it is too large for the server, send each half of it separately."""
        answer = await self._post("/score", {"messages": chats}, lambda response: _parse_scores(response, len(chats)))
        if isinstance(answer, Scores):
            return answer
        if len(chats) > 1:
            half = len(chats) // 2
            first, second = await gather_or_cancel(
                self._score_batch(part, name) for part in (chats[:half], chats[half:])
            )
            return _merge_scores((first, second))
        log.warning("%s: the PRM server refuses the prompt: %s; it scores 0", name, answer.text[:200])
        return Scores((0.0,))

    async def _score_one(self, index: int, messages: list[Message]) -> float:
        def read(response: httpx.Response) -> float | None:
            too_large = response.status_code == TOO_LARGE
            return None if too_large else _parse_probability(response, _read_member(response, "response"))

        score = await self._post("/generate", {"index": index, "messages": messages}, read)
        if score is None:
            log.warning("the PRM server refuses a prompt as too large; it scores 0")
        return score or 0.0

    async def _post(self, path: str, body: dict[str, object], read: Callable[[httpx.Response], T]) -> T:
        """Post a request, with retries, and return the response as parsed by `read`.

        Raises UnreachableError if the server keeps failing, and CodeToolError if its responses cannot be parsed.
        """
        url, unreadable = self._settings.url_for(path), CodeToolError("")

        async def attempt() -> T:
            nonlocal unreadable
            try:
                response = await self._http.request("POST", url, body)
            except httpx.TransportError as error:
                raise RetryableError(_describe_error(error)) from error
            if response.status_code >= 500 or response.status_code in RETRIED_STATUSES:
                raise RetryableError(f"HTTP {response.status_code}", retry_after=parse_retry_after(response.headers))
            try:
                return read(response)
            except CodeToolError as error:
                if not response.is_success:
                    raise  # a refusal, which no repetition changes
                unreadable = error
                raise _UnreadableError(str(error)) from error

        settings = self._settings
        try:
            policy = RetryPolicy(settings.retries, settings.backoff, max_delay=settings.timeout)
            return await call_with_retries(attempt, policy)
        except RetriesExhaustedError as error:
            if isinstance(error.reason, _UnreadableError):
                raise unreadable from error
            raise UnreachableError(
                f"{url}: {error.reason}, {error.attempts} times in a row. Is the PRM still up?"
            ) from error


def _merge_scores(answers: Sequence[Scores]) -> Scores:
    """Return the scores and token counts of several requests as those of one."""
    values = tuple(value for answer in answers for value in answer.values)
    return Scores(values, sum(part.tokens for part in answers), sum(part.tokens_computed for part in answers))


def _read_health(health: httpx.Response) -> Mapping[str, Any]:
    """Return the server's description of itself; empty if `/health` does not return a JSON object."""
    try:
        description = health.json() if health.is_success else None
    except ValueError:
        return {}
    return description if isinstance(description, dict) else {}


def _read_max_chats(description: Mapping[str, Any]) -> int | None:
    """Return the maximum number of chats in a request to `/score`; None if the server has no `/score`."""
    if not isinstance(max_chats := description.get("max_chats"), int) or max_chats < 1:
        return None
    trained = "trained" if description.get("trained") else "untrained: it judges zero-shot"
    log.info("PRM server: %s, %s, checksum %s", description.get("model"), trained, description.get("checksum"))
    return max_chats


def _parse_scores(response: httpx.Response, count: int) -> Scores | httpx.Response:
    """Return the scores in a response of `/score`; the response itself if the request was too large."""
    if response.status_code == TOO_LARGE:
        return response
    values, tokens = _read_member(response, "scores"), _read_member(response, "tokens")
    prompt_tokens = response.json().get("tokens_asked", tokens)  # which servers of version 0.1 do not tell
    if not isinstance(values, list) or len(values) != count or not {type(tokens), type(prompt_tokens)} <= {int}:
        raise CodeToolError(
            f"{response.url} answered scores={values!r} tokens={tokens!r}; a list of {count} numbers and one number "
            "are needed. Does prm.base_url name a server of this version?"
        )
    return Scores(tuple(_parse_probability(response, value) for value in values), prompt_tokens, tokens)


def _read_member(response: httpx.Response, name: str) -> Any:
    """Return the member `name` of a JSON response. Raises CodeToolError if there is none."""
    try:
        return response.raise_for_status().json()[name]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
        expected_value = {"response": "number", "scores": "[number, …]", "tokens": "number"}[name]
        raise CodeToolError(
            f"{response.url} answered HTTP {response.status_code} {response.text[:200]!r}; "
            f'{{"{name}": {expected_value}}} is needed. Does prm.base_url name a PRM server?'
        ) from error


def _parse_probability(response: httpx.Response, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise CodeToolError(
            f"{response.url} answered response={value!r}; a probability in [0, 1] is needed. "
            "Let the server return the softmax over its two label tokens."
        )
    return float(value)


def _describe_error(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
