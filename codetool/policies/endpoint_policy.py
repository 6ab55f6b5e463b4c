"""A policy behind any OpenAI-compatible endpoint: a hosted service, vLLM, llama.cpp's server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from codetool.answers.composed import AnswerPrompt
from codetool.errors import CodeToolError, PromptRefusedError
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.http.system_messages import SystemMessages
from codetool.interfaces import ModelServers, Prompt
from codetool.model_types import Sampling
from codetool.prompts.messages import Message
from codetool.seeding import draw_seed
from codetool.types import Candidate, Node, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class EndpointPolicyConfig(EndpointConfig):
    """Settings of a policy that a server runs."""

    temperature: Annotated[float, Field(ge=0)] | None
    """Divides the logits; 0 takes the most probable token; None is not sent, for models that take none."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    """The draw is from the smallest set of tokens that holds this probability mass; None is not sent."""
    stop: Literal["prompt"] | None
    """`prompt`: the server stops at the text that ends a step in this prompt. None: answers are cut there here."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a step at most."""
    prompt: InstanceOf[Prompt]
    """How a path becomes messages, and a text a step."""

    @property
    def sampling(self) -> Sampling:
        """How candidates are drawn."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> None:
        """None: what the server runs is known by the model's name alone."""

    def weights(self) -> None:
        """None: no server is started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[EndpointPolicy]:
        """The live policy. Raises ConfigError, MissingError or UnreachableError if the server cannot be used."""
        async with ChatClient(self.make_endpoint()) as client:
            yield EndpointPolicy(self.prompt, self.sampling, client, sends_stop=self.stop is not None)

    @property
    def group(self) -> str:
        """`answer` for a model that composes final answers, else `policy`."""
        return "answer" if isinstance(self.prompt, AnswerPrompt) else "policy"


class EndpointPolicy:
    """The live policy: one chat completion a call."""

    def __init__(self, prompt: Prompt, sampling: Sampling, client: ChatClient, *, sends_stop: bool = True) -> None:
        self._prompt, self._sampling, self._client, self._sends_stop = prompt, sampling, client, sends_stop
        self._system = SystemMessages()

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> EndpointPolicy:
        """The same server under another prompt."""
        return EndpointPolicy(prompt, sampling, self._client, sends_stop=self._sends_stop)

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
        """The n candidate next steps after `path`; steps without code where the server refuses the prompt.

        The seed is sent; whether it is honoured is the server's affair.
        """
        k = len(path) + 1
        try:
            completion = await self._complete(
                self._prompt.messages(task, path, tried),
                n=n,
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                max_tokens=self._sampling.max_tokens or 1,
                stop=[self._prompt.stop(k)],
                sends_stop=self._sends_stop,
                seed=draw_seed(seed, task, path, first),
            )
        except PromptRefusedError as error:
            log.warning("%s, step %d: %s", task.id, k, error)
            return [Candidate(raw := f"[{error}]", self._prompt.parse(raw, k, task), refused=True) for _ in range(n)]
        return [
            Candidate(
                raw,
                self._prompt.parse(raw, k, task),
                completion.tokens_in if i == 0 else 0,
                tokens_out,
                finish_reason=reason,
            )
            for i, (raw, tokens_out, reason) in enumerate(
                zip(completion.texts, completion.tokens_out, completion.finish_reasons, strict=True)
            )
        ]

    async def _complete(self, messages: Sequence[Message], **options: Any) -> Completion:
        """The completion of the messages in the form that the server's model takes. Raises as `ChatClient.complete`."""
        sent = self._system.adapt_messages(messages)
        try:
            return await self._client.complete(sent, **options)
        except CodeToolError as error:
            if not self._system.learn_from(error, sent):
                raise
        return await self._client.complete(self._system.adapt_messages(messages), **options)
