"""A model behind an OpenAI-compatible server that chooses between two labels: a request a chat, one token of answer.

vLLM is asked for the log-probabilities of exactly the two labels, by their token ids. Any other server is asked for its
20 most probable tokens. If one label is not among them, it holds at most the probability of the least of them, and at
most what they all leave; it is taken to hold that much, so the score is too close to one half rather than too sure. If
both are missing, the model does not judge, and that is an error.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from codetool.chat import ChatClient, Server
from codetool.completion import FirstToken, first_token
from codetool.concurrency import together
from codetool.errors import CodeToolError, ConfigError, PromptTooLongError
from codetool.http_pools import DIRECT
from codetool.prm.judge import Judged
from codetool.prm.labels import label_ids, score
from codetool.prompts import Message
from codetool.system_role import SystemRole

if TYPE_CHECKING:
    from codetool.prm.generative import GenerativePRM

log = logging.getLogger(__name__)

TOP = 20
"""Tokens whose log-probabilities are asked for; more is refused by OpenAI."""
LABEL_SECONDS = 5.0


@asynccontextmanager
async def opened(settings: GenerativePRM, server: Server) -> AsyncIterator[ServedJudge]:
    """The model, to be asked. Raises UnreachableError, MissingError or ConfigError where the server cannot be used."""
    async with ChatClient(server) as client:
        ids = await _vllm_labels(settings.labels, server) if settings.backend == "vllm" else None
        yield ServedJudge(settings, client, ids)


class ServedJudge:
    """A server's model that chooses between two labels."""

    def __init__(self, settings: GenerativePRM, client: ChatClient, ids: tuple[int, int] | None) -> None:
        """`ids` are the labels' tokens where the server takes them, which is vLLM's own extension."""
        self._settings, self._client, self._ids = settings, client, ids
        self._labels = tuple(f"token_id:{token}" for token in ids) if ids else settings.labels
        self._system = SystemRole()
        self._told = False
        """Whether the user knows that a label was missing."""

    async def judge(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> Judged:
        """The probability of the first label for each chat.

        `tokens` is the server's own count; prompt tokens that it says came out of its cache are not in it.
        """
        # A prefix that several requests bring at once is computed for each, so the first of new ones is read alone.
        alone = 1 if new else 0
        judged = [await self._answer(chat, name) for chat in chats[:alone]]
        judged += await together(self._answer(chat, name) for chat in chats[alone:])
        return Judged(tuple(value for value, _ in judged), sum(tokens for _, tokens in judged))

    async def _answer(self, messages: Sequence[Message], name: str) -> tuple[float | None, int]:
        fields: dict[str, Any] = {"top_logprobs": TOP}
        if self._ids:
            fields = {"logprob_token_ids": list(self._ids), "return_tokens_as_token_ids": True}
        fields |= {"max_tokens": 1, "logprobs": True, "temperature": 1.0}  # some servers scale the logprobs by it too
        body = {"model": self._client.server.model, "messages": self._system.fit(messages), **fields}
        try:
            answer = await self._client.answer(body)
        except PromptTooLongError as error:
            log.warning("%s: %s; it is not judged", name, error)
            return None, 0
        except CodeToolError as error:
            if self._system.learn(error, body["messages"]):
                return await self._answer(messages, name)
            raise
        found = first_token(answer, body)
        if found is None:
            raise ConfigError(
                f"{self._client.server.base_url} tells no log-probabilities of {self._client.server.model}, and scores "
                "are made of them. Choose a server that does with prm.base_url=, vLLM for example."
            )
        return self._value(found), found.tokens_in

    def _value(self, found: FirstToken) -> float:
        first, second = (found.logprobs.get(label) for label in self._labels)
        if first is None and second is None:
            told = ", ".join(repr(token) for token in list(found.logprobs)[-5:])
            raise CodeToolError(
                f"{self._client.server.model} answers with neither label of prm.labels={list(self._settings.labels)}: "
                f"its most probable tokens are {told}. Is it the right model, and are these its labels?"
            )
        if first is None or second is None:
            self._tell()
        most = _most_left(found.logprobs)
        return score("softmax", most if first is None else first, most if second is None else second)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "the PRM's server does not always name both labels among its %d most probable tokens; the other one is "
                "taken to be as probable as it could be",
                TOP,
            )


def _most_left(logprobs: Mapping[str, float]) -> float:
    """The highest log-probability that a token which is not listed can have."""
    left = max(1 - sum(math.exp(value) for value in logprobs.values()), 1e-9)
    return min(math.log(left), min(logprobs.values()))


async def _vllm_labels(labels: tuple[str, str], server: Server) -> tuple[int, int]:
    """The labels' tokens, as the server's own tokenizer has them."""
    url = server.base_url.rstrip("/").removesuffix("/v1") + "/tokenize"
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    found: dict[str, list[int]] = {}
    async with httpx.AsyncClient(timeout=LABEL_SECONDS, headers=headers, mounts=DIRECT) as http:
        for label in labels:
            try:
                body = {"model": server.model, "prompt": label, "add_special_tokens": False}
                response = (await http.post(url, json=body)).raise_for_status()
                found[label] = [int(token) for token in response.json()["tokens"]]
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                why = " ".join(f"{type(error).__name__} {error}".split())
                raise ConfigError(
                    f"{url} does not tell the tokens of prm.labels ({why}). prm.backend=vllm is for vLLM's server; use "
                    "prm.backend=endpoint for any other."
                ) from error
    return label_ids(labels, found.__getitem__, server.model)
