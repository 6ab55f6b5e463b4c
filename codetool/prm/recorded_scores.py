"""A PRM that returns the scores of a recorded run instead of computing them again.

What a model computes depends in its last digits on what else it reads at the same time, so that a repetition would
differ from the run that it repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from codetool.interfaces import ProcessRewardModel
from codetool.model_types import Scores
from codetool.types import Execution, Node, Step, Task

ScoreKey = tuple[str, ...]
"""Task id, the texts of the path's steps, the text of the step that is scored."""


def make_score_key(task_id: str, path: Sequence[Node], step: Step) -> ScoreKey:
    """Return the key under which a score is recorded."""
    return (task_id, *(node.step.text for node in path if node.step), step.text)


class RecordedScores:
    """A PRM that is asked as ever, so that its tokens are counted; recorded values count instead of new ones."""

    def __init__(self, inner: ProcessRewardModel, known: Mapping[ScoreKey, float]) -> None:
        """Takes the PRM that gave the recorded scores."""
        self._inner, self._recorded = inner, known

    @property
    def sees_observation(self) -> bool:
        """Whether the PRM scores steps that have run."""
        return self._inner.sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The recorded score of each candidate, and the PRM's own of those that were not recorded."""
        scores = await self._inner.score(task, path, candidates, executions)
        keys = [make_score_key(task.id, path, step) for step in candidates]
        values = (self._recorded.get(key, value) for key, value in zip(keys, scores.values, strict=True))
        return replace(scores, values=tuple(values))
