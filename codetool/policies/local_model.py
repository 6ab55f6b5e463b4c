"""A policy that runs in this process: chat messages in, candidate steps out.

The folder is in Hugging Face format with a Llama's weights; no hub is asked and transformers is not imported.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from codetool.policies.generation import Request, Worker
from codetool.policies.llama import Llama, Shape
from codetool.policies.parsing import parse
from codetool.policies.sampling import Precision, draw_seed
from codetool.prompts import Message, StepPrompt, closing, compiled
from codetool.types import Candidate, Node, Sampling, Task

log = logging.getLogger(__name__)

TAIL = 24
"""Tokens at the end of a candidate in which its stop string is looked for; the string has about ten."""


class LocalModel:
    """A loaded model and its worker thread. `close` ends the thread."""

    def __init__(
        self,
        folder: Path,
        prompt: StepPrompt,
        sampling: Sampling,
        *,
        rows: int,
        prefix_tokens: int,
        threads: int | None,
        precision: Precision,
    ) -> None:
        """Load the folder (0.5 s for SmolLM2)."""
        self._prompt, self._sampling = prompt, sampling
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._template = compiled((folder / "chat_template.jinja").read_text())
        self._end = _end_tokens(folder)
        self._context = Shape.of(folder).context
        self._worker = Worker(lambda: Llama(folder, getattr(torch, precision)), rows, prefix_tokens, threads)

    def close(self) -> None:
        """End the worker after its current token."""
        self._worker.close()

    async def propose(
        self, task: Task, path: Sequence[Node], n: int, *, first: int = 0, seed: int = 0
    ) -> Sequence[Candidate]:
        """The n candidate next steps after `path`. A prompt beyond the context gives candidates without code."""
        k = len(path) + 1
        prompt = self.encode(self._prompt.messages(task, path))
        new = self._sampling.max_tokens or 1
        if len(prompt) + new > self._context:
            raw = f"[A prompt of {len(prompt)} and {new} new tokens exceed the context of {self._context} tokens.]"
            log.warning("%s, step %d: %s", task.id, k, raw)
            return [Candidate(raw, parse(raw, k)) for _ in range(n)]
        request = Request(
            prompt=prompt,
            seeds=[draw_seed(seed, task, path, first + i) for i in range(n)],
            temperature=self._sampling.temperature or 0.0,
            top_p=self._sampling.top_p or 1.0,
            max_tokens=new,
            ended=lambda tokens: tokens[-1] in self._end or closing(k) in self.decode(tokens[-TAIL:]),
        )
        written = await asyncio.wrap_future(self._worker.submit(request))
        texts = [self.decode(tokens).partition(closing(k))[0] for tokens in written]
        return [
            Candidate(text, parse(text, k), len(prompt) if i == 0 else 0, len(tokens))
            for i, (text, tokens) in enumerate(zip(texts, written, strict=True))
        ]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat that is the assistant's turn next."""
        text = self._template.render(messages=messages, add_generation_prompt=True)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, those that end a turn left out."""
        return str(self._tokenizer.decode([t for t in tokens if t not in self._end], skip_special_tokens=False))


def _end_tokens(folder: Path) -> frozenset[int]:
    """The tokens that end a turn."""
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    return frozenset(end if isinstance(end, list) else [end])
