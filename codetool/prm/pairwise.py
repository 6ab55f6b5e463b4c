"""Candidates judged in pairs: a candidate's score is how probably it wins against its siblings, the paper's ablation.

The model reads the task, the path and two candidates and names the one with more potential. Models favour a place, so
both orders are asked: the probability that a wins against b is the mean of P(first | a, b) and 1 - P(first | b, a). The
score of a candidate is the mean over its siblings. Scores of n different candidates cost n(n - 1) prompts, which share
all but the two steps; they compare siblings alone, so sums over a path tell less than those of a pointwise PRM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from codetool.model_types import Scores
from codetool.prm.label_scorer import Judge
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.types import Execution, Node, Step, Task

UNDECIDED = 0.5


class Pairwise:
    """A PRM that reads two candidates at a time."""

    def __init__(self, judge: Judge, prompt: PairwisePRMPrompt) -> None:
        """Takes the model and what it reads; its first label stands for the first candidate."""
        self.judge, self._prompt = judge, prompt

    @property
    def sees_observation(self) -> bool:
        """False: candidates are compared by their text."""
        return False

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Each candidate's mean probability of winning against the siblings whose text differs, one half without any.

        In [0, 1], one half on average over different candidates. A prompt beyond the model's context decides nothing:
        it counts as one half.
        """
        texts = list(dict.fromkeys(step.text for step in candidates))
        pairs = list(permutations(texts, 2))
        if not pairs:
            return Scores((UNDECIDED,) * len(candidates))
        before = self._prompt.prefix_messages(task, path)
        chats = [self._prompt.with_candidates(before, len(path) + 1, first, second) for first, second in pairs]
        judged = await self.judge.judge(chats, f"{task.id}, step {len(path) + 1}", new=not path)
        chosen = {pair: UNDECIDED if value is None else value for pair, value in zip(pairs, judged.values, strict=True)}
        values = {text: _wins(text, texts, chosen) for text in texts}
        return Scores(tuple(values[step.text] for step in candidates), judged.tokens, judged.computed)


def _wins(text: str, texts: Sequence[str], chosen: Mapping[tuple[str, str], float]) -> float:
    """The mean probability of winning; `chosen` is that of the first, for each ordered pair."""
    others = [other for other in texts if other != text]
    return sum((chosen[text, other] + 1 - chosen[other, text]) / 2 for other in others) / len(others)
