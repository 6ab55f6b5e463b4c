"""A PRM that returns the scores of a recorded run instead of computing them again.

The last digits of a model's output depend on the other inputs of its batch, so scores that are computed again would
differ from those of the recorded run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from codetool.interfaces import ProcessRewardModel
from codetool.model_types import Scores
from codetool.types import Execution, Node, Step, Task

ScoreKey = tuple[str, ...]
"""Task id, the texts of the path's steps, and the text of the scored step."""


def make_score_key(task_id: str, path: Sequence[Node], step: Step) -> ScoreKey:
    """Return the key under which a score is recorded."""
    return (task_id, *(node.step.text for node in path if node.step), step.text)


class RecordedScores:
    """A PRM that calls another PRM, to count its tokens, but returns recorded scores where there are any."""

    def __init__(self, inner: ProcessRewardModel, recorded: Mapping[ScoreKey, float]) -> None:
        """Store the PRM that computed the recorded scores, `inner`, and these scores, `recorded`."""
        self._inner, self._recorded = inner, recorded

    @property
    def sees_observation(self) -> bool:
        """Whether the PRM scores steps that have run."""
        return self._inner.sees_observation

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the recorded score of each candidate, or the inner PRM's score if none was recorded."""
        scores = await self._inner.score(task, path, candidates, executions)
        keys = [make_score_key(task.id, path, step) for step in candidates]
        values = (self._recorded.get(key, value) for key, value in zip(keys, scores.values, strict=True))
        return replace(scores, values=tuple(values))
