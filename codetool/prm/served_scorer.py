"""Scores chats with a model behind an OpenAI-compatible server: one request per chat, one output token.

vLLM is asked for the log-probabilities of exactly the two labels, by their token ids. Any other server is asked for its
20 most probable tokens; a label's probability is the sum over its spellings among them (`Yes`, ` yes`). A label that is
not among them has at most the probability of the last one, and at most the probability left over by all of them; this
upper bound is taken, so the score errs towards one half. If both labels are missing, or have almost no probability
(as for a model that thinks first), an error is raised.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError, PromptRefusedError, UnreachableError
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import FirstToken, parse_first_token
from codetool.http.endpoint import Endpoint
from codetool.http.fault_counts import classify_body, classify_transport_error
from codetool.http.model_check import make_opening_policy
from codetool.http.replicated_chat import Chat, open_chat
from codetool.http.retry import RetriesExhaustedError, RetryableError, call_with_retries
from codetool.http.system_messages import SystemMessages
from codetool.prm.label_scorer import LabelScores
from codetool.prm.label_tokens import compute_score, find_label_tokens
from codetool.prompts.messages import Message

log = logging.getLogger(__name__)

TOP_LOGPROBS = 20
"""Number of tokens whose log-probabilities are requested; OpenAI's maximum."""
TOKENIZE_TIMEOUT = 5.0
"""Timeout of a request to `/tokenize`, in seconds."""
MIN_LABEL_PROBABILITY = 0.01
"""Minimum total probability of the two labels; below it, the model does not answer with a label."""
MAX_ANSWERS_WITHOUT_LOGPROBS = 3
"""Number of responses without log-probabilities that are retried before the server is assumed to return none."""


@asynccontextmanager
async def open_served_scorer(
    labels: tuple[str, str], server: Endpoint, *, is_vllm: bool
) -> AsyncIterator[ServedScorer]:
    """Connect to the server and yield the scorer.

    Raises UnreachableError, MissingError or ConfigError if the server cannot be used.
    """
    async with open_chat(server) as client:
        ids = await _fetch_label_ids(labels, client.find_client()) if is_vllm else None
        yield ServedScorer(labels, client, ids)


class _NoTokensError(RetryableError):
    """A success of `/tokenize` without tokens."""


class ServedScorer:
    """Scores chats by the label probabilities of a model behind a server."""

    def __init__(self, labels: tuple[str, str], client: Chat, ids: tuple[int, int] | None) -> None:
        """Store the client; `ids` are the labels' token ids for vLLM, which accepts them as an extension, else None."""
        self._label_texts, self._client, self._ids = labels, client, ids
        self._labels = tuple(f"token_id:{token}" for token in ids) if ids else labels
        self._system = SystemMessages()
        self._answers_without_logprobs = 0
        """Number of responses without log-probabilities so far; -1 once a response had them."""

    async def score_chats(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> LabelScores:
        """Return the probability of the first label for each chat; None for a prompt that is too long.

        `tokens` is the server's own count; `computed` excludes prompt tokens that the server found in its cache.
        """
        # A prefix that several requests bring at once is computed for each, so the first of new ones is read alone.
        first_alone = 1 if new else 0
        results = [await self._score_chat(chat, name) for chat in chats[:first_alone]]
        results += await gather_or_cancel(self._score_chat(chat, name) for chat in chats[first_alone:])
        prompt_tokens, computed = (sum(counts) for counts in zip(*(tokens for _, tokens in results), strict=True))
        return LabelScores(tuple(value for value, _ in results), prompt_tokens, computed)

    async def _score_chat(self, messages: Sequence[Message], name: str) -> tuple[float | None, tuple[int, int]]:
        """Return the score (None for a prompt that is too long), and the prompt's tokens: all, and those computed."""
        fields: dict[str, Any] = {"top_logprobs": TOP_LOGPROBS}
        if self._ids:
            fields = {"logprob_token_ids": list(self._ids), "return_tokens_as_token_ids": True}
        fields |= {"max_tokens": 1, "logprobs": True, "temperature": 1.0}  # some servers scale the logprobs by it too
        body = {"model": self._client.endpoint.model, "messages": self._system.adapt_messages(messages), **fields}
        try:
            answer = await self._client.request(body, self._find_missing_logprobs)
        except PromptRefusedError as error:
            log.warning("%s: %s; it is not scored", name, error)
            return None, (0, 0)
        except CodeToolError as error:
            if self._system.learn_from(error, body["messages"]):
                return await self._score_chat(messages, name)
            raise
        first_token = parse_first_token(answer, body)
        if first_token is None:
            raise ConfigError(
                f"{self._client.endpoint.base_url} tells no log-probabilities of {self._client.endpoint.model}, and "
                "scores are made of them. Choose a server that does with prm.base_url=, vLLM for example."
            )
        return self._score_first_token(first_token), (first_token.tokens_in, first_token.tokens_computed)

    def _find_missing_logprobs(self, answer: dict[str, Any]) -> str | None:
        """Return `missing_logprobs` for a response without log-probabilities, unless the server never returns any."""
        if parse_first_token(answer, {"messages": ()}) is not None:
            self._answers_without_logprobs = -1
            return None
        self._answers_without_logprobs += self._answers_without_logprobs >= 0
        return None if self._answers_without_logprobs > MAX_ANSWERS_WITHOUT_LOGPROBS else "missing_logprobs"

    def _score_first_token(self, token: FirstToken) -> float:
        """Compute the score from the labels' log-probabilities. Raises CodeToolError if they have almost none."""
        first, second = (
            _log_or_none(sum_label_probability(label, self._labels, token.logprobs)) for label in self._labels
        )
        if first is None and second is None:
            raise CodeToolError(
                f"{self._client.endpoint.model} answers with neither label of prm.labels={list(self._label_texts)}"
                f": its most probable tokens are {_format_top_tokens(token)}. Is it the right model, and are these its "
                "labels?"
            )
        mass = sum(math.exp(value) for value in (first, second) if value is not None)
        if mass < MIN_LABEL_PROBABILITY and self._ids:  # what else the model would say is not among the answer
            self._warn_once("mass", f"gives its labels only {mass:.2g} of the probability: is it the right model?")
        elif mass < MIN_LABEL_PROBABILITY:
            raise CodeToolError(
                f"{self._client.endpoint.model} gives prm.labels={list(self._label_texts)} only {mass:.2g} of the "
                f"probability; its most probable tokens are {_format_top_tokens(token)}. A model that thinks first "
                "cannot be asked so: switch thinking off with "
                "prm.extra_body={chat_template_kwargs:{enable_thinking:false}}, or choose another model "
                "or other labels."
            )
        if first is None or second is None:
            problem = f"does not always name both labels among its {TOP_LOGPROBS} most probable tokens"
            self._warn_once("label", f"{problem}; the other one is taken to be as probable as it could be")
        upper_bound = _max_unlisted_logprob(token.logprobs)
        return compute_score(
            "softmax", upper_bound if first is None else first, upper_bound if second is None else second
        )

    def _warn_once(self, kind: str, message: str) -> None:
        self._client.warnings.warn_once(kind, message)


def _max_unlisted_logprob(logprobs: Mapping[str, float]) -> float:
    """Return an upper bound on the log-probability of a token that is not listed."""
    remaining = max(1 - sum(math.exp(value) for value in logprobs.values()), 1e-9)
    return min(math.log(remaining), min(logprobs.values()))


def sum_label_probability(label: str, labels: Sequence[str], logprobs: Mapping[str, float]) -> float:
    """Return the summed probability of all spellings of a label among the tokens: any case, with or without blanks.

    If the labels differ only in case or blanks, the exact spelling alone counts.
    """
    if len({_normalize_token(other) for other in labels}) < len(labels):
        return sum(math.exp(value) for token, value in logprobs.items() if token == label)
    return sum(
        math.exp(value) for token, value in logprobs.items() if _normalize_token(token) == _normalize_token(label)
    )


def _normalize_token(token: str) -> str:
    """Return a token in lower case, without blanks, quotes and the characters by which tokenizers mark a blank."""
    return token.strip(" \t\n\r▁ĠĊ\"'`*").casefold()


def _log_or_none(mass: float) -> float | None:
    return math.log(mass) if mass > 0 else None


def _format_top_tokens(first_token: FirstToken) -> str:
    """Format the five most probable tokens for a message, the most probable first."""
    tokens = sorted(first_token.logprobs, key=first_token.logprobs.__getitem__, reverse=True)[:5]
    return ", ".join(f"{token!r} ({math.exp(first_token.logprobs[token]):.2g})" for token in tokens)


async def _fetch_label_ids(labels: tuple[str, str], client: ChatClient) -> tuple[int, int]:
    """Fetch the labels' token ids from the server's tokenizer. Raises ConfigError if it does not return them."""
    server = client.endpoint
    base = httpx.URL(server.base_url)
    url = base.copy_with(path=base.path.rstrip("/").removesuffix("/v1") + "/tokenize")
    ids_by_label = {label: await _fetch_token_ids(label, url, client) for label in labels}
    return find_label_tokens(labels, ids_by_label.__getitem__, server.model)


async def _fetch_token_ids(label: str, url: httpx.URL, client: ChatClient) -> list[int]:
    """Fetch the token ids of a label. Raises UnreachableError for faults, ConfigError for another kind of server."""
    body = {"model": client.endpoint.model, "prompt": label, "add_special_tokens": False}

    async def attempt() -> list[int]:
        try:
            response = await client.http.post(url, json=body, timeout=TOKENIZE_TIMEOUT)
        except httpx.RequestError as error:
            raise RetryableError(f"{type(error).__name__} {error}", kind=classify_transport_error(error)) from error
        if response.status_code == 429 or response.status_code >= 500:
            raise RetryableError(f"HTTP {response.status_code}", kind=f"status_{response.status_code}")
        if not response.is_success:
            raise _explain_other_server(url, f"HTTP {response.status_code}")
        try:
            return [int(token) for token in response.json()["tokens"]]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            reason = " ".join(f"{type(error).__name__} {error}".split())
            raise _NoTokensError(reason, kind=classify_body(response.text)) from error

    try:
        return await call_with_retries(attempt, make_opening_policy(client.endpoint.group, client.endpoint.backoff))
    except RetriesExhaustedError as error:
        if isinstance(error.reason, _NoTokensError):
            raise _explain_other_server(url, str(error.reason)) from error
        raise UnreachableError(f"{url} gave no answer in {error.effort}; the last one: {error.reason}") from error


def _explain_other_server(url: httpx.URL, reason: str) -> ConfigError:
    return ConfigError(
        f"{url} does not tell the tokens of prm.labels ({reason}). prm.backend=vllm is for vLLM's server; use "
        "prm.backend=endpoint for any other."
    )
