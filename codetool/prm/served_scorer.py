"""Scores chats with a model behind an OpenAI-compatible server: one request per chat, one output token.

vLLM is asked for the log-probabilities of exactly the two labels, by their token ids. Any other server is asked for its
20 most probable tokens; a label's probability is that of all its spellings among them (`Yes`, ` yes`). If one label is
not among them, it holds at most the probability of the least of them, and at most what they all leave; it is taken to
hold that much, so the score is too close to one half rather than too sure. If both are missing, or hold next to nothing
(a model that thinks first), the model does not score, and that is an error.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError, PromptRefusedError
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import FirstToken, parse_first_token
from codetool.http.endpoint import Endpoint
from codetool.http.system_messages import SystemMessages
from codetool.prm.label_scorer import LabelScores
from codetool.prm.label_tokens import compute_score, find_label_tokens
from codetool.prompts.messages import Message

log = logging.getLogger(__name__)

TOP_LOGPROBS = 20
"""Tokens whose log-probabilities are asked for; more is refused by OpenAI."""
TOKENIZE_TIMEOUT = 5.0
MIN_LABEL_PROBABILITY = 0.01
"""Probability that the labels hold together at least; a model that gives them less answers something else."""
MAX_ANSWERS_WITHOUT_LOGPROBS = 2
"""Answers without log-probabilities, before any with them, after which the server is taken to give none."""


@asynccontextmanager
async def open_served_scorer(
    labels: tuple[str, str], server: Endpoint, *, is_vllm: bool
) -> AsyncIterator[ServedScorer]:
    """Connect to the server and yield the scorer.

    Raises UnreachableError, MissingError or ConfigError if the server cannot be used.
    """
    async with ChatClient(server) as client:
        ids = await _fetch_label_ids(labels, client) if is_vllm else None
        yield ServedScorer(labels, client, ids)


class ServedScorer:
    """A server's model that chooses between two labels."""

    def __init__(self, labels: tuple[str, str], client: ChatClient, ids: tuple[int, int] | None) -> None:
        """`ids` are the token ids of the labels if the server accepts them, which is an extension of vLLM."""
        self._label_texts, self._client, self._ids = labels, client, ids
        self._labels = tuple(f"token_id:{token}" for token in ids) if ids else labels
        self._system = SystemMessages()
        self._answers_without_logprobs = 0
        """Answers without log-probabilities so far; -1 once there was one with them."""

    async def score_chats(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> LabelScores:
        """The probability of the first label for each chat.

        `tokens` is the server's own count; in `computed` prompt tokens that it says came out of its cache are left out.
        """
        # A prefix that several requests bring at once is computed for each, so the first of new ones is read alone.
        alone = 1 if new else 0
        judged = [await self._score_chat(chat, name) for chat in chats[:alone]]
        judged += await gather_or_cancel(self._score_chat(chat, name) for chat in chats[alone:])
        asked, computed = (sum(counts) for counts in zip(*(tokens for _, tokens in judged), strict=True))
        return LabelScores(tuple(value for value, _ in judged), asked, computed)

    async def _score_chat(self, messages: Sequence[Message], name: str) -> tuple[float | None, tuple[int, int]]:
        """The score, None for a prompt that is too long, and the tokens of the prompt: all, and those computed."""
        fields: dict[str, Any] = {"top_logprobs": TOP_LOGPROBS}
        if self._ids:
            fields = {"logprob_token_ids": list(self._ids), "return_tokens_as_token_ids": True}
        fields |= {"max_tokens": 1, "logprobs": True, "temperature": 1.0}  # some servers scale the logprobs by it too
        body = {"model": self._client.endpoint.model, "messages": self._system.adapt_messages(messages), **fields}
        try:
            answer = await self._client.request(body, self._has_logprobs_or_never_will)
        except PromptRefusedError as error:
            log.warning("%s: %s; it is not scored", name, error)
            return None, (0, 0)
        except CodeToolError as error:
            if self._system.learn_from(error, body["messages"]):
                return await self._score_chat(messages, name)
            raise
        found = parse_first_token(answer, body)
        if found is None:
            raise ConfigError(
                f"{self._client.endpoint.base_url} tells no log-probabilities of {self._client.endpoint.model}, and "
                "scores are made of them. Choose a server that does with prm.base_url=, vLLM for example."
            )
        return self._score_first_token(found), (found.tokens_in, found.tokens_computed)

    def _has_logprobs_or_never_will(self, answer: dict[str, Any]) -> bool:
        """Whether an answer has log-probabilities, or comes from a server that has never given any: no use to go on."""
        if parse_first_token(answer, {"messages": ()}) is not None:
            self._answers_without_logprobs = -1
            return True
        self._answers_without_logprobs += self._answers_without_logprobs >= 0
        return self._answers_without_logprobs > MAX_ANSWERS_WITHOUT_LOGPROBS

    def _score_first_token(self, found: FirstToken) -> float:
        """The score that the labels' log-probabilities give. Raises CodeToolError where they hold next to nothing."""
        first, second = (
            _log_or_none(sum_label_probability(label, self._labels, found.logprobs)) for label in self._labels
        )
        if first is None and second is None:
            raise CodeToolError(
                f"{self._client.endpoint.model} answers with neither label of prm.labels={list(self._label_texts)}"
                f": its most probable tokens are {_format_top_tokens(found)}. Is it the right model, and are these its "
                "labels?"
            )
        mass = sum(math.exp(value) for value in (first, second) if value is not None)
        if mass < MIN_LABEL_PROBABILITY and self._ids:  # what else the model would say is not among the answer
            self._warn_once("mass", f"gives its labels only {mass:.2g} of the probability: is it the right model?")
        elif mass < MIN_LABEL_PROBABILITY:
            raise CodeToolError(
                f"{self._client.endpoint.model} gives prm.labels={list(self._label_texts)} only {mass:.2g} of the "
                f"probability; its most probable tokens are {_format_top_tokens(found)}. A model that thinks first "
                "cannot be asked so: switch thinking off with "
                "prm.extra_body={chat_template_kwargs:{enable_thinking:false}}, or choose another model "
                "or other labels."
            )
        if first is None or second is None:
            missing = f"does not always name both labels among its {TOP_LOGPROBS} most probable tokens"
            self._warn_once("label", f"{missing}; the other one is taken to be as probable as it could be")
        most = _max_unlisted_logprob(found.logprobs)
        return compute_score("softmax", most if first is None else first, most if second is None else second)

    def _warn_once(self, kind: str, words: str) -> None:
        self._client.warnings.warn_once(kind, words)


def _max_unlisted_logprob(logprobs: Mapping[str, float]) -> float:
    """The highest log-probability that a token which is not listed can have."""
    left = max(1 - sum(math.exp(value) for value in logprobs.values()), 1e-9)
    return min(math.log(left), min(logprobs.values()))


def sum_label_probability(label: str, labels: Sequence[str], logprobs: Mapping[str, float]) -> float:
    """The probability of all spellings of a label among some tokens: other case, blanks around it.

    Where the labels differ in such things alone, each is only itself.
    """
    if len({_normalize_token(each) for each in labels}) < len(labels):
        return sum(math.exp(value) for token, value in logprobs.items() if token == label)
    return sum(
        math.exp(value) for token, value in logprobs.items() if _normalize_token(token) == _normalize_token(label)
    )


def _normalize_token(token: str) -> str:
    """A token without case and without the marks of a blank before it that tokenizers show."""
    return token.strip(" \t\n\r▁ĠĊ\"'`*").casefold()


def _log_or_none(mass: float) -> float | None:
    return math.log(mass) if mass > 0 else None


def _format_top_tokens(found: FirstToken) -> str:
    """The five most probable tokens, the likeliest first."""
    tokens = sorted(found.logprobs, key=found.logprobs.__getitem__, reverse=True)[:5]
    return ", ".join(f"{token!r} ({math.exp(found.logprobs[token]):.2g})" for token in tokens)


async def _fetch_label_ids(labels: tuple[str, str], client: ChatClient) -> tuple[int, int]:
    """The labels' tokens, as the server's own tokenizer has them."""
    server = client.endpoint
    base = httpx.URL(server.base_url)
    url = base.copy_with(path=base.path.rstrip("/").removesuffix("/v1") + "/tokenize")
    found: dict[str, list[int]] = {}
    for label in labels:
        try:
            body = {"model": server.model, "prompt": label, "add_special_tokens": False}
            response = (await client.http.post(url, json=body, timeout=TOKENIZE_TIMEOUT)).raise_for_status()
            found[label] = [int(token) for token in response.json()["tokens"]]
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            why = " ".join(f"{type(error).__name__} {error}".split())
            raise ConfigError(
                f"{url} does not tell the tokens of prm.labels ({why}). prm.backend=vllm is for vLLM's server; use "
                "prm.backend=endpoint for any other."
            ) from error
    return find_label_tokens(labels, found.__getitem__, server.model)
