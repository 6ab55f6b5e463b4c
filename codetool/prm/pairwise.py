"""A PRM that compares candidates in pairs: the score is the mean probability of winning, the paper's ablation.

The prompt holds the task, the path and two candidates, and the model names the one with more potential. Models favour
one position, so both orders are scored: the probability that a wins against b is the mean of P(first | a, b) and
1 - P(first | b, a). The score of a candidate is the mean over its siblings. Scoring n different candidates takes
n(n - 1) prompts, which share all but the two steps. Scores compare siblings only, so sums of them over a path are less
meaningful than those of a pointwise PRM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from codetool.http.replicas import stick_to_replica
from codetool.model_types import Scores
from codetool.prm.label_scorer import LabelScorer
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.types import Execution, Node, Step, Task

TIE = 0.5
"""Probability of winning for a candidate without siblings, and for a comparison that cannot be made."""


class PairwisePRM:
    """A PRM that compares two candidates per prompt."""

    def __init__(self, scorer: LabelScorer, prompt: PairwisePRMPrompt) -> None:
        """Store the scorer and the prompt; the scorer's first label stands for the first candidate."""
        self.scorer, self._prompt = scorer, prompt

    @property
    def sees_observation(self) -> bool:
        """False: candidates are compared by their text."""
        return False

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return each candidate's mean probability of winning against its siblings with a different text.

        The scores are in [0, 1] and average one half over different candidates. A candidate without such siblings
        scores one half. A prompt that exceeds the model's context counts as a tie, one half.
        """
        texts = list(dict.fromkeys(step.text for step in candidates))
        pairs = list(permutations(texts, 2))
        if not pairs:
            return Scores((TIE,) * len(candidates))
        prefix = self._prompt.prefix_messages(task, path)
        chats = [self._prompt.with_candidates(prefix, len(path) + 1, first, second) for first, second in pairs]
        with stick_to_replica(task.id):
            scores = await self.scorer.score_chats(chats, f"{task.id}, step {len(path) + 1}", new=not path)
        preferences = {pair: TIE if value is None else value for pair, value in zip(pairs, scores.values, strict=True)}
        values = {text: _mean_win_probability(text, texts, preferences) for text in texts}
        return Scores(tuple(values[step.text] for step in candidates), scores.tokens, scores.computed)


def _mean_win_probability(text: str, texts: Sequence[str], preferences: Mapping[tuple[str, str], float]) -> float:
    """Return a text's mean probability of winning; `preferences` is P(first wins) for each ordered pair."""
    others = [other for other in texts if other != text]
    return sum((preferences[text, other] + 1 - preferences[other, text]) / 2 for other in others) / len(others)
