"""One server of a PRM behind HTTP: what it tells about its model, and requests for scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from codetool.concurrency import gather_or_cancel
from codetool.costs.usage import report_usage
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.http.bounded_body import MAX_SCORES_BYTES
from codetool.http.connection_pools import HttpPools
from codetool.http.model_check import make_opening_policy
from codetool.http.proxies import find_proxy
from codetool.http.reachability import check_url
from codetool.http.replicas import Replica
from codetool.http.retry import RetriesExhaustedError, RetryPolicy, call_with_retries
from codetool.interfaces import ScoringPrompt
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

log = logging.getLogger(__name__)

T = TypeVar("T")

MODEL_FACTS = ("model", "checksum", "labels", "prompt", "score", "sees_observation", "precision")
"""What a server of `stage=serve_prm` tells that all replicas of a model have in common."""


class PRMServer(Replica):
    """A server of `stage=serve_prm`, or one with another protocol, which gets one request per chat."""

    def __init__(
        self, address: str, prompt: ScoringPrompt, timeout: httpx.Timeout, concurrency: int, policy: RetryPolicy
    ) -> None:
        """Take the address, the prompt of the PRM, and the limits of requests. No connection is opened."""
        self.address, self._prompt, self._timeout, self._concurrency = address, prompt, timeout, concurrency
        self._policy = replace(policy, is_pointless=lambda: self.is_left)
        self._is_open = False
        self._max_chats: int | None = None
        """Maximum number of chats of one request to `/score`; None without `/score`."""
        self.sees_observation = False
        """Whether the server's model reads what a step did."""

    async def check(self, *, probe: bool) -> Mapping[str, Any]:
        """Connect if necessary, and return what the server tells about its model; empty for another kind of server.

        Raises UnreachableError if it does not answer or is overloaded, and ConfigError if its model was trained with
        another prompt.
        """
        if not self._is_open:
            url = await check_url(self.address)
            self._http = HttpPools(
                concurrency=self._concurrency,
                timeout=self._timeout,
                proxy=find_proxy(url),
                max_bytes=MAX_SCORES_BYTES,
            )
            await self._http.__aenter__()
            self._is_open = True
        description = await self._fetch_description()
        self._check_prompt(description)
        self._max_chats = read_max_chats(description)
        self.sees_observation = description.get("sees_observation") is True
        return {name: description[name] for name in MODEL_FACTS if name in description}

    async def close(self) -> None:
        """Close every connection."""
        if self._is_open:
            await self._http.__aexit__()

    async def score(self, chats: Sequence[list[Message]], name: str) -> Scores:
        """Return the score of each chat; 0 for a prompt that the server refuses as too large.

        `name` identifies the chats in messages. Raises UnreachableError if the server keeps failing, and CodeToolError
        if it does not return a probability.
        """
        if self._max_chats is None:
            return Scores(tuple(await gather_or_cancel(self._score_one(i, chat) for i, chat in enumerate(chats))))
        parts = [chats[begin : begin + self._max_chats] for begin in range(0, len(chats), self._max_chats)]
        return _merge_scores(await gather_or_cancel(self._score_batch(part, name) for part in parts))

    def _make_url(self, path: str) -> str:
        """Return the URL of a path of the server; a query string in its address stays at the end."""
        base, mark, query = self.address.partition("?")
        return f"{base.rstrip('/')}{path}{mark}{query}"

    async def _fetch_description(self) -> Mapping[str, Any]:
        """Fetch the server's description of itself; empty for a server of another kind, which has no `/health`.

        A fault must not make a server look like one of the other kind, so it is retried. Raises UnreachableError.
        """

        async def attempt() -> Mapping[str, Any]:
            try:
                health = await self._http.request("GET", self._make_url("/health"))
            except httpx.RequestError as error:
                refused = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                raise to_retryable_error(error, last=refused) from error
            raise_if_transient(health)
            return read_health(health)

        try:
            return await call_with_retries(attempt, make_opening_policy("prm", self._policy.backoff))
        except RetriesExhaustedError as error:
            if isinstance(error.reason, UnreadableError):
                return {}  # a page for people, or a word such as "ok"
            raise UnreachableError(
                f"prm.base_url={self.address}: no answer ({error.reason}, {error.effort}). "
                "Start the PRM server there, or give the address of a running one."
            ) from error

    def _check_prompt(self, description: Mapping[str, Any]) -> None:
        """Raise ConfigError if the server's model was trained with another prompt than `prompt`."""
        trained = description.get("prompt")
        if not trained_prompt.is_prompt_record(trained):
            return  # of another kind or an earlier version: it does not say
        source = f"the model of prm.base_url={self.address}"
        if problem := trained_prompt.explain_mismatch("prm", source, trained, self._prompt):
            raise ConfigError(problem)

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
        url, unreadable = self._make_url(path), CodeToolError("")

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

        try:
            return await call_with_retries(attempt, self._policy)
        except RetriesExhaustedError as error:
            if isinstance(error.reason, UnreadableError):
                raise unreadable from error
            times = f"{error.attempts} times in a row within {error.seconds:.3g} s"
            raise UnreachableError(f"{url}: {error.reason}, {times}. Is the PRM still up?") from error


def _merge_scores(answers: Sequence[Scores]) -> Scores:
    """Return the scores and token counts of several requests as those of one."""
    values = tuple(value for answer in answers for value in answer.values)
    return Scores(values, sum(part.tokens for part in answers), sum(part.tokens_computed for part in answers))
