"""Scores chats with a model loaded in this process: the probability of the first of two labels as the next token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from codetool.concurrency import gather_or_cancel
from codetool.costs.usage import report_usage
from codetool.errors import PromptTooLongError
from codetool.model_types import Precision
from codetool.models.chat_template import ChatTokenizer
from codetool.models.locate import ModelFolders
from codetool.models.packed_model import PackedModel
from codetool.models.scoring_worker import Scorer, ScoringJob, group_by_prefix
from codetool.prm.label_scorer import LabelScores, count_characters
from codetool.prm.label_tokens import ScoreFormula, compute_score, find_label_tokens
from codetool.prompts.messages import Message

log = logging.getLogger(__name__)


class LocalScorerSettings(Protocol):
    """The settings of a generative PRM that a model in this process needs; `GenerativePRM` has them all."""

    @property
    def model(self) -> str:
        """Name of the model, for messages."""
        ...

    @property
    def labels(self) -> tuple[str, str]:
        """The two labels; each must be a single token of the model."""
        ...

    @property
    def score(self) -> ScoreFormula:
        """Formula that turns the two logits into a score."""
        ...

    @property
    def precision(self) -> Precision:
        """Data type of the computation."""
        ...

    @property
    def device(self) -> str:
        """`auto`, `cpu` or `cuda:N`."""
        ...

    @property
    def max_batch_tokens(self) -> int:
        """Maximum number of tokens of one forward pass."""
        ...

    @property
    def prefix_cache_tokens(self) -> int:
        """Maximum number of prompt tokens whose keys and values are kept."""
        ...

    @property
    def threads(self) -> int | None:
        """Maximum number of CPU threads; None has no maximum but the cores that a policy in this process leaves."""
        ...


class LocalScorer:
    """A loaded model and the worker thread that runs it. Call `close` to end the thread."""

    def __init__(self, settings: LocalScorerSettings, folders: ModelFolders) -> None:
        """Load the model. Raises ConfigError or MissingError if the folders cannot be used."""
        self._settings = settings
        self.tokenizer = ChatTokenizer(folders.base)
        labels = find_label_tokens(settings.labels, self.tokenizer.tokenize, settings.model)
        self._scorer = Scorer(
            lambda: PackedModel(folders.base, folders.adapter, settings.precision, settings.device),
            labels,
            batch_tokens=settings.max_batch_tokens,
            prefix_tokens=settings.prefix_cache_tokens,
            threads=settings.threads,
        )

    def close(self) -> None:
        """End the worker after its current pass."""
        self._scorer.close()

    def on_progress(self, callback: Callable[[int, int], None]) -> None:
        """Call `callback` before every forward pass with its number of sibling groups and its number of tokens."""
        self._scorer.on_pass = callback

    def count_tokens(self, chat: Sequence[Message]) -> tuple[int, int]:
        """Return the number of tokens of a chat, and of the model's context."""
        return len(self.tokenizer.encode(chat)), self._scorer.context

    @property
    def max_characters(self) -> int:
        """Characters that a chat within the model's context has at most; a longer one need not be tokenised."""
        return self._scorer.context * self.tokenizer.longest_token

    async def score_chats(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> LabelScores:
        """Return the score of each chat; chats that exceed the context get None.

        `computed` counts only tokens that were not in the prefix cache. The cache is used regardless of `new`.
        """
        prompts = await asyncio.to_thread(lambda: [self._encode(chat, name) for chat in chats])
        distinct_prompts = [
            prompt for prompt in dict.fromkeys(prompts) if prompt is not None and self._fits(prompt, name)
        ]
        jobs = [ScoringJob(family) for family in group_by_prefix(distinct_prompts)]
        outputs = await gather_or_cancel(asyncio.wrap_future(self._scorer.submit(job)) for job in jobs)
        values = {
            prompt: compute_score(self._settings.score, *logits)
            for job, output in zip(jobs, outputs, strict=True)
            for prompt, logits in zip(job.prompts, output.logits, strict=True)
        }
        scores = tuple(None if prompt is None else values.get(prompt) for prompt in prompts)
        prompt_tokens = sum(len(prompt) for prompt in prompts if prompt is not None and prompt in values)
        computed = sum(output.tokens for output in outputs)
        report_usage("prm", prompt_tokens, 0, max(0, prompt_tokens - computed), requests=len(jobs))
        return LabelScores(scores, prompt_tokens, computed)

    def _encode(self, chat: Sequence[Message], name: str) -> tuple[int, ...] | None:
        """Return the tokens of a chat; None if it has so many characters that it must exceed the context."""
        characters = count_characters(chat)
        if characters <= self.max_characters:
            return tuple(self.tokenizer.encode(chat))
        log.warning(
            "%s: the PRM's prompt of %d characters exceeds its context of %d tokens; it is not scored",
            name, characters, self._scorer.context,
        )  # fmt: skip
        return None

    def _fits(self, prompt: Sequence[int], name: str) -> bool:
        if len(prompt) <= self._scorer.context:
            return True
        problem = PromptTooLongError(
            f"the PRM's prompt of {len(prompt)} tokens exceeds its context of {self._scorer.context}"
        )
        log.warning("%s: %s; it is not scored", name, problem)
        return False
