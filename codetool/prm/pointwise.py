"""A PRM that scores each candidate by itself: the score is the probability that the model calls it promising."""

from __future__ import annotations

from collections.abc import Sequence

from codetool.model_types import Scores
from codetool.prm.label_scorer import LabelScorer
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.types import Execution, Node, Step, Task


class PointwisePRM:
    """A PRM that scores one candidate per prompt, like the one of the paper."""

    def __init__(self, scorer: LabelScorer, prompt: PRMPrompt, *, sees_observation: bool) -> None:
        """Takes the model and what it reads."""
        self.scorer, self._prompt = scorer, prompt
        self.sees_observation = sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The latent reward of each candidate. A prompt beyond the model's context scores 0."""
        seen: Sequence[Execution | None] = executions or [None] * len(candidates)
        chats = [self._prompt.messages(task, path, step, ran) for step, ran in zip(candidates, seen, strict=True)]
        answers = await self.scorer.score_chats(chats, f"{task.id}, step {len(path) + 1}", new=not path)
        return Scores(tuple(value or 0.0 for value in answers.values), answers.tokens, answers.computed)
