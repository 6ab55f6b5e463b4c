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
from pydantic import (
    ConfigDict,
    Field,
    InstanceOf,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.costs.usage import report_usage
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.http.bounded_body import MAX_SCORES_BYTES
from codetool.http.connection_pools import HttpPools
from codetool.http.model_check import make_opening_policy
from codetool.http.proxies import find_proxy
from codetool.http.reachability import check_url, reject_secrets_in_url
from codetool.http.retry import RetriesExhaustedError, RetryPolicy, call_with_retries
from codetool.interfaces import ModelServers, ScoringPrompt
from codetool.model_types import Scores
from codetool.prm.remote_responses import (
    TOO_LARGE,
    UnreadableError,
    classify_unreadable,
    parse_probability,
    parse_scores,
    raise_if_transient,
    read_health,
    read_max_chats,
    read_member,
    to_retryable_error,
)
from codetool.prompts import trained_prompt
from codetool.prompts.messages import Message
from codetool.runs.operational import Operational
from codetool.types import Execution, Node, Step, Task

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class RemotePRMConfig:
    """Settings of a PRM behind HTTP: address, prompt, timeouts and retries."""

    model: str
    """Name of the model on the server, freely chosen; it alone distinguishes the results of different servers."""
    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+"), Operational]
    """URL of the server, without `/score` or `/generate`."""
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
        reject_secrets_in_url("prm.base_url", self.base_url, instead=advice)
        return self

    def url_for(self, path: str) -> str:
        """Return the URL of a path of the server; a query string in `base_url` stays at the end."""
        base, mark, query = self.base_url.partition("?")
        return f"{base.rstrip('/')}{path}{mark}{query}"

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
        url = await check_url(self.base_url)
        timeout = httpx.Timeout(self.timeout, connect=self.connect_timeout, pool=None)
        async with HttpPools(
            concurrency=self.concurrency, timeout=timeout, proxy=find_proxy(url), max_bytes=MAX_SCORES_BYTES
        ) as http:
            description = await self._fetch_description(http)
            self._check_prompt(description)
            yield RemotePRM(
                self, http, read_max_chats(description), sees_observation=description.get("sees_observation") is True
            )

    async def _fetch_description(self, http: HttpPools) -> Mapping[str, Any]:
        """Fetch the server's description of itself; empty for a server of another kind, which has no `/health`.

        A fault must not make a server look like one of the other kind, so it is retried. Raises UnreachableError.
        """

        async def attempt() -> Mapping[str, Any]:
            try:
                health = await http.request("GET", self.url_for("/health"))
            except httpx.RequestError as error:
                refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                raise to_retryable_error(error, last=refused) from error
            raise_if_transient(health)
            return read_health(health)

        try:
            return await call_with_retries(attempt, make_opening_policy("prm", self.backoff))
        except RetriesExhaustedError as error:
            if isinstance(error.reason, UnreadableError):
                return {}  # a page for people, or a word such as "ok"
            raise UnreachableError(
                f"prm.base_url={self.base_url}: no answer ({error.reason}, {error.effort}). "
                "Start the PRM server there, or give the address of a running one."
            ) from error

    def _check_prompt(self, description: Mapping[str, Any]) -> None:
        """Raise ConfigError if the server's model was trained with another prompt than `prompt`."""
        trained = description.get("prompt")
        if not trained_prompt.is_prompt_record(trained):
            return  # of another kind or an earlier version: it does not say
        source = f"the model of prm.base_url={self.base_url}"
        if problem := trained_prompt.explain_mismatch("prm", source, trained, self.prompt):
            raise ConfigError(problem)


class RemotePRM:
    """A PRM that asks an HTTP server for scores."""

    def __init__(
        self, settings: RemotePRMConfig, http: HttpPools, max_chats: int | None, *, sees_observation: bool = False
    ) -> None:
        """Store the client; `max_chats` limits the chats of one request to `/score`; None without `/score`.

        With `sees_observation`, the server's model reads what a step did.
        """
        self._settings, self._http, self._max_chats = settings, http, max_chats
        self.sees_observation = sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the server's score of each candidate; 0 for a prompt that the server refuses as too large.

        Raises UnreachableError if the server keeps failing, and CodeToolError if it does not return a probability.
        """
        shown: Sequence[Execution | None] = executions or [None] * len(candidates)
        prompt = self._settings.prompt
        chats = [prompt.messages(task, path, step, ran) for step, ran in zip(candidates, shown, strict=True)]
        if self._max_chats is None:
            return Scores(tuple(await gather_or_cancel(self._score_one(i, chat) for i, chat in enumerate(chats))))
        parts = [chats[begin : begin + self._max_chats] for begin in range(0, len(chats), self._max_chats)]
        answers = await gather_or_cancel(self._score_batch(part, f"{task.id}, step {len(path) + 1}") for part in parts)
        return _merge_scores(answers)

    async def _score_batch(self, chats: Sequence[list[Message]], name: str) -> Scores:
        """Return the scores of one request; if it is too large for the server, send each half of it separately."""
        answer = await self._post("/score", {"messages": chats}, lambda response: parse_scores(response, len(chats)))
        if isinstance(answer, Scores):
            report_usage("prm", answer.tokens, 0, answer.tokens - answer.tokens_computed)
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
            return None if too_large else parse_probability(response, read_member(response, "response"))

        score = await self._post("/generate", {"index": index, "messages": messages}, read)
        report_usage("prm", 0, 0)
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
            except httpx.RequestError as error:
                raise to_retryable_error(error) from error
            raise_if_transient(response)
            try:
                return read(response)
            except CodeToolError as error:
                if not response.is_success:
                    raise  # a refusal, which no repetition changes
                unreadable = error
                raise UnreadableError(str(error), kind=classify_unreadable(response)) from error

        settings = self._settings
        policy = RetryPolicy(settings.retries, settings.backoff, max_delay=settings.timeout, service="prm")
        try:
            return await call_with_retries(attempt, policy)
        except RetriesExhaustedError as error:
            if isinstance(error.reason, UnreadableError):
                raise unreadable from error
            times = f"{error.attempts} times in a row within {error.seconds:.3g} s"
            raise UnreachableError(f"{url}: {error.reason}, {times}. Is the PRM still up?") from error


def _merge_scores(answers: Sequence[Scores]) -> Scores:
    """Return the scores and token counts of several requests as those of one."""
    values = tuple(value for answer in answers for value in answer.values)
    return Scores(values, sum(part.tokens for part in answers), sum(part.tokens_computed for part in answers))
