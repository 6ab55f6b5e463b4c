"""A PRM that compares candidates in pairs: the score is the mean probability of winning, the paper's ablation.

The model reads the task, the path and two candidates and names the one with more potential. Models favour a place, so
both orders are asked: the probability that a wins against b is the mean of P(first | a, b) and 1 - P(first | b, a). The
score of a candidate is the mean over its siblings. Scores of n different candidates cost n(n - 1) prompts, which share
all but the two steps; they compare siblings alone, so sums over a path tell less than those of a pointwise PRM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from codetool.model_types import Scores
from codetool.prm.label_scorer import LabelScorer
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.types import Execution, Node, Step, Task

TIE = 0.5


class PairwisePRM:
    """A PRM that compares two candidates per prompt."""

    def __init__(self, scorer: LabelScorer, prompt: PairwisePRMPrompt) -> None:
        """Takes the model and what it reads; its first label stands for the first candidate."""
        self.scorer, self._prompt = scorer, prompt

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
            return Scores((TIE,) * len(candidates))
        before = self._prompt.prefix_messages(task, path)
        chats = [self._prompt.with_candidates(before, len(path) + 1, first, second) for first, second in pairs]
        answers = await self.scorer.score_chats(chats, f"{task.id}, step {len(path) + 1}", new=not path)
        preferences = {pair: TIE if value is None else value for pair, value in zip(pairs, answers.values, strict=True)}
        values = {text: _mean_win_probability(text, texts, preferences) for text in texts}
        return Scores(tuple(values[step.text] for step in candidates), answers.tokens, answers.computed)


def _mean_win_probability(text: str, texts: Sequence[str], preferences: Mapping[tuple[str, str], float]) -> float:
    """The mean probability of winning; `preferences` is that of the first, for each ordered pair."""
    others = [other for other in texts if other != text]
    return sum((preferences[text, other] + 1 - preferences[other, text]) / 2 for other in others) / len(others)
