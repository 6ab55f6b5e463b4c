"""A PRM that scores each candidate on its own: the score is the probability of the label for high potential."""

from __future__ import annotations

from collections.abc import Sequence

from codetool.http.replicas import stick_to_replica
from codetool.interfaces import ScoringPrompt
from codetool.model_types import Scores
from codetool.prm.label_scorer import LabelScorer
from codetool.types import Execution, Node, Step, Task


class PointwisePRM:
    """A PRM that scores one candidate per prompt, as in the paper."""

    def __init__(self, scorer: LabelScorer, prompt: ScoringPrompt, *, sees_observation: bool) -> None:
        """Store the scorer and the prompt; with `sees_observation`, the prompt includes the candidate's output."""
        self.scorer, self._prompt = scorer, prompt
        self.sees_observation = sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the latent reward of each candidate; 0 if its prompt exceeds the model's context."""
        executions_shown: Sequence[Execution | None] = executions or [None] * len(candidates)
        chats = [
            self._prompt.messages(task, path, step, execution)
            for step, execution in zip(candidates, executions_shown, strict=True)
        ]
        with stick_to_replica(task.id):
            scores = await self.scorer.score_chats(chats, f"{task.id}, step {len(path) + 1}", new=not path)
        return Scores(tuple(value or 0.0 for value in scores.values), scores.tokens, scores.computed)
