"""A policy that samples steps from an OpenAI-compatible endpoint: a hosted service, vLLM or llama.cpp's server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from pydantic import Field, InstanceOf
from pydantic.dataclasses import dataclass

from codetool.answers.composed import AnswerPrompt
from codetool.errors import CodeToolError, PromptRefusedError
from codetool.http.chat_response import Completion
from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.http.replicas import stick_to_replica
from codetool.http.replicated_chat import Chat, open_chat
from codetool.http.system_messages import SystemMessages
from codetool.http.token_logprobs import TokenLogprobs
from codetool.interfaces import ModelServers, Prompt
from codetool.model_types import Sampling
from codetool.policies.diversity import DiversitySettings
from codetool.policies.log_probabilities import LOG_PROBABILITY_DIGITS, round_log_probabilities
from codetool.prompts.messages import Message
from codetool.runs.seeding import draw_seed
from codetool.types import Candidate, Node, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class EndpointPolicyConfig(EndpointConfig, DiversitySettings):
    """Settings of a policy whose model runs on a server."""

    temperature: Annotated[float, Field(ge=0)] | None
    """Sampling temperature; 0 is greedy; None is not sent, for models that accept no temperature."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    """Nucleus probability mass in (0, 1]; None is not sent."""
    stop: Literal["prompt"] | None
    """`prompt`: the prompt's stop string is sent to the server. None: the parser cuts answers at it."""
    max_tokens: Annotated[int, Field(ge=1)]
    """Maximum number of new tokens of a step."""
    prompt: InstanceOf[Prompt]
    """Renders a path as messages and parses a text as a step."""

    @property
    def sampling(self) -> Sampling:
        """The sampling settings of candidates."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> None:
        """Return None: only the model's name identifies what the server runs."""

    def weights(self) -> None:
        """Return None: no server is started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[EndpointPolicy]:
        """Open the policy. Raises ConfigError, MissingError or UnreachableError if the server cannot be used."""
        async with open_chat(self.make_endpoint()) as client:
            yield EndpointPolicy(self.prompt, self.sampling, client, sends_stop=self.stop is not None)

    @property
    def group(self) -> str:
        """`answer` for a model that composes final answers, else `policy`."""
        return "answer" if isinstance(self.prompt, AnswerPrompt) else "policy"


class EndpointPolicy:
    """A policy that requests one chat completion per call of `propose`."""

    def __init__(
        self,
        prompt: Prompt,
        sampling: Sampling,
        client: Chat,
        *,
        sends_stop: bool = True,
        requests_logprobs: bool = False,
        requests_tokens: bool = False,
    ) -> None:
        self._prompt, self._sampling, self._client, self._sends_stop = prompt, sampling, client, sends_stop
        self._requests_logprobs, self._requests_tokens = requests_logprobs, requests_tokens
        self._system = SystemMessages()

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> EndpointPolicy:
        """Return a policy with the same server and another prompt."""
        return EndpointPolicy(prompt, sampling, self._client, sends_stop=self._sends_stop)

    def with_log_probability(self) -> EndpointPolicy:
        """Return a policy that also requests the log-probabilities of its candidates; not every server gives them."""
        return self._with_requests(requests_logprobs=True, requests_tokens=self._requests_tokens)

    def with_tokens(self) -> EndpointPolicy:
        """Return a policy that also requests the ids and log-probabilities of tokens, which vLLM gives."""
        return self._with_requests(requests_logprobs=True, requests_tokens=True)

    def _with_requests(self, **requests: bool) -> EndpointPolicy:
        return EndpointPolicy(self._prompt, self._sampling, self._client, sends_stop=self._sends_stop, **requests)

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
        """Sample n candidate next steps after `path`; steps without code if the server refuses the prompt.

        The seed is sent, but not every server honours it.
        """
        k = len(path) + 1
        try:
            with stick_to_replica(task.id):
                completion = await self._complete(
                    self._prompt.messages(task, path, tried),
                    n=n,
                    temperature=self._sampling.temperature,
                    top_p=self._sampling.top_p,
                    max_tokens=self._sampling.max_tokens or 1,
                    stop=[self._prompt.stop(k)],
                    sends_stop=self._sends_stop,
                    seed=draw_seed(seed, task, path, first),
                    logprobs=self._requests_logprobs,
                    token_ids=self._requests_tokens,
                )
        except PromptRefusedError as error:
            log.warning("%s, step %d: %s", task.id, k, error)
            return [Candidate(raw := f"[{error}]", self._prompt.parse(raw, k, task), refused=True) for _ in range(n)]
        return self._make_candidates(completion, k, task)

    def _make_candidates(self, completion: Completion, k: int, task: Task) -> list[Candidate]:
        """Return the candidates of a completion, parsed as step k; the first one has the tokens of the prompt."""
        nothing = (None,) * len(completion.texts)
        logprobs, token_ids = completion.logprobs or nothing, completion.token_ids or nothing
        answers = zip(
            completion.texts, completion.tokens_out, completion.finish_reasons, logprobs, token_ids, strict=True
        )
        return [
            Candidate(
                raw,
                self._prompt.parse(raw, k, task),
                completion.tokens_in if place == 0 else 0,
                tokens_out,
                finish_reason=reason,
                tokens_in_cached=completion.tokens_in_cached if place == 0 else 0,
                log_probability=_sum_logprobs(of_tokens),
                **_pair_tokens(ids, of_tokens),
            )
            for place, (raw, tokens_out, reason, of_tokens, ids) in enumerate(answers)
        ]

    async def _complete(self, messages: Sequence[Message], **options: Any) -> Completion:
        """Request a completion, with the system message in the form that the model accepts. Raises like `complete`."""
        sent = self._system.adapt_messages(messages)
        try:
            return await self._client.complete(sent, **options)
        except CodeToolError as error:
            if not self._system.learn_from(error, sent):
                raise
        return await self._client.complete(self._system.adapt_messages(messages), **options)


def _pair_tokens(ids: Sequence[int] | None, logprobs: TokenLogprobs | None) -> dict[str, Any]:
    """Return the candidate's fields of its tokens; none unless the server gave both for every token."""
    if ids is None or logprobs is None or len(ids) != len(logprobs):
        return {}
    return {
        "tokens": tuple(ids),
        "token_log_probabilities": round_log_probabilities(min(value, 0.0) for _, value in logprobs),
    }


def _sum_logprobs(tokens: TokenLogprobs | None) -> float | None:
    return None if tokens is None else round(sum(value for _, value in tokens), LOG_PROBABILITY_DIGITS)
