"""A policy behind any OpenAI-compatible endpoint: a hosted service, vLLM, llama.cpp's server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, InstanceOf, NonNegativeFloat, model_validator
from pydantic.dataclasses import dataclass

from codetool.chat import ChatClient, Server
from codetool.completion import Completion
from codetool.errors import CodeToolError, ConfigError, PromptTooLongError
from codetool.interfaces import ModelServers, Prompt
from codetool.operational import Operational
from codetool.policies.answering import AnswerPrompt
from codetool.policies.sampling import draw_seed
from codetool.prompts import Message
from codetool.reach import refuse_password
from codetool.system_role import SystemRole
from codetool.types import Candidate, Node, Sampling, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EndpointPolicy:
    """Settings of a policy that a server runs."""

    model: str | None
    """Name of the model as the server lists it. It must be given; None is the placeholder of a YAML file."""
    base_url: Annotated[str, Operational]
    """Address up to and including the version, `http://localhost:8000/v1`."""
    key_env: Annotated[str | None, Operational]
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    temperature: Annotated[float, Field(ge=0)]
    """Divides the logits; 0 takes the most probable token."""
    top_p: Annotated[float, Field(gt=0, le=1)]
    """The draw is from the smallest set of tokens that holds this probability mass."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a step at most."""
    concurrency: Annotated[int, Field(ge=1), Operational]
    """Requests in flight at most; a 429 lowers the bound for a while."""
    timeout: Annotated[float, Field(gt=0), Operational]
    """Seconds until the first byte of an answer; a retry after a time-out waits twice as long, two retries at most."""
    retries: Annotated[int, Field(ge=0), Operational]
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: Annotated[float, Field(ge=0), Operational]
    """Seconds before the first retry; doubled for each further one, half to one and a half of it at random."""
    usd_per_million_in: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million prompt tokens in USD; None if unknown."""
    usd_per_million_out: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million new tokens in USD; None if unknown."""
    prompt: InstanceOf[Prompt]
    """How a path becomes messages, and a text a step."""

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        refuse_password(self._group, self.base_url)
        return self

    @property
    def sampling(self) -> Sampling:
        """How candidates are drawn."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> None:
        """None: what the server runs is known by the model's name alone."""

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of so many tokens in USD, None unless both prices are set."""
        if self.usd_per_million_in is None or self.usd_per_million_out is None:
            return None
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6

    def weights(self) -> None:
        """None: no server is started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[Endpoint]:
        """The live policy. Raises ConfigError, MissingError or UnreachableError if the server cannot be used."""
        if not self.model:
            group = self._group
            raise ConfigError(f"{group}.model is not set. Name one that {self.base_url} serves: `{group}.model=NAME`.")
        server = Server(
            base_url=self.base_url,
            model=self.model,
            key_env=self.key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            group=self._group,
        )
        async with ChatClient(server) as client:
            yield Endpoint(self.prompt, self.sampling, client)

    @property
    def _group(self) -> str:
        """The group of options that all this was set with."""
        return "answer" if isinstance(self.prompt, AnswerPrompt) else "policy"


class Endpoint:
    """The live policy: one chat completion a call."""

    def __init__(self, prompt: Prompt, sampling: Sampling, client: ChatClient) -> None:
        self._prompt, self._sampling, self._client = prompt, sampling, client
        self._system = SystemRole()

    def using(self, prompt: Prompt, sampling: Sampling) -> Endpoint:
        """The same server under another prompt."""
        return Endpoint(prompt, sampling, self._client)

    async def propose(
        self,
        task: Task,
        path: Sequence[Node],
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        tried: Sequence[Node] = (),
    ) -> Sequence[Candidate]:
        """The n candidate next steps after `path`; steps without code where the prompt exceeds the model's context.

        The seed is sent; whether it is honoured is the server's affair.
        """
        k = len(path) + 1
        try:
            completion = await self._complete(
                self._prompt.messages(task, path, tried),
                n=n,
                temperature=self._sampling.temperature or 0.0,
                top_p=self._sampling.top_p or 1.0,
                max_tokens=self._sampling.max_tokens or 1,
                stop=[self._prompt.stop(k)],
                seed=draw_seed(seed, task, path, first),
            )
        except PromptTooLongError as error:
            log.warning("%s, step %d: %s", task.id, k, error)
            return [Candidate(raw := f"[{error}]", self._prompt.parse(raw, k, task), refused=True) for _ in range(n)]
        return [
            Candidate(raw, self._prompt.parse(raw, k, task), completion.tokens_in if i == 0 else 0, tokens_out)
            for i, (raw, tokens_out) in enumerate(zip(completion.texts, completion.tokens_out, strict=True))
        ]

    async def _complete(self, messages: Sequence[Message], **options: Any) -> Completion:
        """The completion of the messages in the form that the server's model takes. Raises as `ChatClient.complete`."""
        sent = self._system.fit(messages)
        try:
            return await self._client.complete(sent, **options)
        except CodeToolError as error:
            if not self._system.learn(error, sent):
                raise
        return await self._client.complete(self._system.fit(messages), **options)
