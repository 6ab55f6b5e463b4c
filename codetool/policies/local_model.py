"""A policy whose model runs in this process.

The model is a folder in Hugging Face format; no hub is contacted. For a Llama on a CPU, transformers is not imported.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

from codetool.costs.usage import report_usage
from codetool.interfaces import Prompt
from codetool.model_types import Sampling, Weights
from codetool.models.chat_template import ChatTokenizer
from codetool.models.decoder import load_decoder
from codetool.models.generation_worker import GenerationRequest, GenerationWorker
from codetool.policies.log_probabilities import LOG_PROBABILITY_DIGITS, round_log_probabilities
from codetool.prompts.messages import Message
from codetool.runs.seeding import draw_seed
from codetool.types import Candidate, Node, Task

log = logging.getLogger(__name__)

STOP_WINDOW_TOKENS = 24
"""Number of last tokens of a candidate that are searched for the stop string, which has about ten."""


class LocalModelPolicy:
    """A policy with a loaded model and its worker thread. `close` ends the thread."""

    def __init__(
        self,
        weights: Weights,
        prompt: Prompt,
        sampling: Sampling,
        *,
        rows: int,
        prefix_tokens: int,
        threads: int | None,
        draft_tokens: int = 0,
    ) -> None:
        """Load the model (0.5 s for SmolLM2). Raises MissingError or ConfigError where its files cannot be read."""
        self._prompt, self._sampling = prompt, sampling
        self._tokens = ChatTokenizer(weights.base)
        end = self._tokens.find_end_of_turn()
        self._end = _load_end_tokens(weights.base) | ({end} if end is not None else set())
        self._context = int(_load_json(weights.base / "config.json")["max_position_embeddings"])
        self._worker = GenerationWorker(lambda: load_decoder(weights), rows, prefix_tokens, threads, draft_tokens)

    draws_by_index = True
    """Each candidate has its own seed, so it does not depend on how many are drawn with it."""

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> LocalModelPolicy:
        """Return a policy with the same worker and another prompt. Closing either closes both."""
        other = copy(self)
        other._prompt, other._sampling = prompt, sampling
        return other

    def close(self) -> None:
        """Stop the worker after its current token."""
        self._worker.close()

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
        """Sample n candidate next steps after `path`. If the prompt exceeds the context, they have no code."""
        k = len(path) + 1
        prompt = self.encode(self._prompt.messages(task, path, tried))
        new, stop = self._sampling.max_tokens or 1, self._prompt.stop(k)
        if len(prompt) + new > self._context:
            raw = f"[A prompt of {len(prompt)} and {new} new tokens exceed the context of {self._context} tokens.]"
            log.warning("%s, step %d: %s", task.id, k, raw)
            return [Candidate(raw, self._prompt.parse(raw, k, task), refused=True) for _ in range(n)]
        request = GenerationRequest(
            prompt=prompt,
            seeds=[draw_seed(seed, task, path, first + i) for i in range(n)],
            temperature=self._sampling.temperature or 0.0,
            top_p=self._sampling.top_p or 1.0,
            max_tokens=new,
            is_ended=lambda tokens: tokens[-1] in self._end or stop in self.decode(tokens[-STOP_WINDOW_TOKENS:]),
        )
        written = await asyncio.wrap_future(self._worker.submit(request))
        report_usage("policy", len(prompt), sum(len(generated.tokens) for generated in written), request.cached_tokens)
        texts = [self.decode(generated.tokens).partition(stop)[0] for generated in written]
        return [
            Candidate(
                text,
                self._prompt.parse(text, k, task),
                len(prompt) if i == 0 else 0,
                len(generated.tokens),
                tokens_in_cached=request.cached_tokens if i == 0 else 0,
                log_probability=round(generated.log_probability, LOG_PROBABILITY_DIGITS),
                tokens=tuple(generated.tokens),
                token_log_probabilities=round_log_probabilities(generated.token_log_probabilities),
            )
            for i, (text, generated) in enumerate(zip(texts, written, strict=True))
        ]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Tokenize a chat, followed by the start of the assistant's turn."""
        return self._tokens.encode(messages)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens without end-of-turn tokens."""
        return self._tokens.decode([token for token in tokens if token not in self._end])


def _load_end_tokens(folder: Path) -> frozenset[int]:
    """Return the end-of-sequence tokens that the model's files name; empty if they name none."""
    candidates = [_load_json(folder / name).get("eos_token_id") for name in ("generation_config.json", "config.json")]
    end: Any = next((tokens for tokens in candidates if tokens is not None), [])
    return frozenset(end if isinstance(end, list) else [end])


def _load_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
