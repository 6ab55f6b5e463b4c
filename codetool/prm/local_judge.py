"""A generative PRM in this process: chats in, scores out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codetool.errors import PromptTooLongError
from codetool.model_folders import ModelFolders
from codetool.prm.labels import label_ids, score
from codetool.prm.packed_model import PackedModel
from codetool.prm.scoring import Job, Scorer
from codetool.tokenizing import ChatTokens
from codetool.types import Execution, Node, Scores, Step, Task

if TYPE_CHECKING:
    from codetool.prm.generative import GenerativePRM

log = logging.getLogger(__name__)


class LocalJudge:
    """A loaded model and its worker thread. `close` ends the thread."""

    def __init__(self, settings: GenerativePRM, found: ModelFolders) -> None:
        """Load the folders. Raises ConfigError or MissingError where they cannot be used."""
        self._settings = settings
        self.sees_observation = settings.sees_observation
        self.tokens = ChatTokens(found.base)
        labels = label_ids(settings.labels, self.tokens.tokens, settings.model)
        self._scorer = Scorer(
            lambda: PackedModel(found.base, found.adapter, settings.precision, settings.device),
            labels,
            batch_tokens=settings.batch_tokens,
            prefix_tokens=settings.prefix_tokens,
            threads=settings.threads,
        )

    def close(self) -> None:
        """End the worker after its current pass."""
        self._scorer.close()

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The latent reward of each candidate.

        `tokens` counts what the model really read: a prompt's start that it had read before, for siblings, for earlier
        steps of the path or for another task, costs nothing again. A prompt beyond the model's context scores 0.
        """
        seen: Sequence[Execution | None] = executions or [None] * len(candidates)
        prompt = self._settings.prompt
        chats = [prompt.messages(task, path, step, ran) for step, ran in zip(candidates, seen, strict=True)]
        prompts = [tuple(self.tokens.encode(chat)) for chat in chats]
        different = [prompt for prompt in dict.fromkeys(prompts) if self._fits(prompt, task, path)]
        if not different:
            return Scores((0.0,) * len(prompts))
        judged = await asyncio.wrap_future(self._scorer.submit(Job(different)))
        values = {
            prompt: score(self._settings.score, *logits)
            for prompt, logits in zip(different, judged.logits, strict=True)
        }
        return Scores(tuple(values.get(prompt, 0.0) for prompt in prompts), judged.tokens)

    def _fits(self, prompt: Sequence[int], task: Task, path: Sequence[Node]) -> bool:
        if len(prompt) <= self._scorer.context:
            return True
        trouble = PromptTooLongError(
            f"the PRM's prompt of {len(prompt)} tokens exceeds its context of {self._scorer.context}"
        )
        log.warning("%s, step %d: %s; it scores 0", task.id, len(path) + 1, trouble)
        return False
