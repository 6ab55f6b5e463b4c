"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290) of a policy on pairs of sibling steps.

Two siblings, drawn after the same path x, are a pair if their estimates differ by more than `min_margin`, so that every
branch of a tree gives preferences, as in TP-LLaMA (arXiv 2406.07115). The loss of the better step w and the worse l is

    L = - log σ(β (r(w) - r(l))) - a · log π(w|x) / |w|,   r(y) = log π(y|x) - log π_0(y|x),

where log π(y|x) is the sum over the tokens of the step, β is `beta`, a is `sft_weight` (Pang et al. 2024, arXiv
2404.19733) and π_0 is the policy that training starts from, read once before the first update. A pair counts as often
as its two programs were sampled. The loss of an update is the weighted mean over its pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Operational
from codetool.training.policy_examples import EncodedStep, PolicyExamples, encode_steps
from codetool.training.sft_examples import ChatEncoder


class StepPair(NamedTuple):
    """Numbers of two sibling steps, and how many pairs of sampled candidates they stand for."""

    better: int
    worse: int
    weight: float


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DPOConfig:
    """Settings of `objective=dpo`."""

    learning_rate: Annotated[float, Field(gt=0, le=1e30), Operational]
    """Default of `optimizer.lr` with `tuning=lora` and `qlora`."""
    beta: PositiveFloat
    """Strength with which the policy is kept near the initial one."""
    estimate: Literal["soft", "hard"]
    """Estimate by which siblings are compared: the share of successful leaves, or whether there is one."""
    min_margin: Annotated[float, Field(ge=0, lt=1)]
    """Difference that the estimates of a pair must exceed, in [0, 1)."""
    sft_weight: NonNegativeFloat
    """Weight of the mean negative log-likelihood of the better step's tokens."""

    data_file = "policy_steps.jsonl"

    def is_unhashed(self) -> bool:
        """Return False: it is a choice of its own."""
        return False

    def build_examples(self, records: Sequence[Any], tokenizer: ChatEncoder, max_tokens: int) -> PolicyExamples:
        """Return the examples of all steps that are in a pair."""
        steps, too_long = encode_steps(records, tokenizer, max_tokens)
        pairs = self._list_pairs(steps)
        weights: defaultdict[int, float] = defaultdict(float)
        for index, weight in ((i, pair.weight / 2) for pair in pairs for i in (pair.better, pair.worse)):
            weights[index] += weight  # half of a pair's weight for each step, spread over its tokens
        examples = [
            step.to_example(i, weights[i] / len(step.completion), f"{step.record.tree} {step.record.group}")
            for i, step in enumerate(steps)
            if step is not None and i in weights
        ]
        summary = f"objective=dpo: {len(pairs):,} pairs of {len(weights):,} siblings, of {len(records):,} steps"
        names = f"objective.estimate={self.estimate} by more than objective.min_margin={self.min_margin:g}"
        reason = f"no two siblings of {len(records) - too_long:,} steps differ in {names}; sample more, search.n=4"
        return PolicyExamples(examples, too_long, DPOLoss(self, pairs), summary, reason)

    def _list_pairs(self, steps: Sequence[EncodedStep | None]) -> list[StepPair]:
        groups: defaultdict[tuple[int, str], list[tuple[float, int, int]]] = defaultdict(list)
        for index, step in enumerate(steps):
            if step is not None and (value := getattr(step.record, self.estimate)) is not None:
                groups[step.record.tree, step.record.group].append((float(value), index, step.record.multiplicity))
        return [
            StepPair(max(pair)[1], min(pair)[1], float(pair[0][2] * pair[1][2]))
            for group in groups.values()
            for pair in combinations(group, 2)
            if abs(pair[0][0] - pair[1][0]) > self.min_margin
        ]


class DPOLoss:
    """The loss of the pairs whose steps are in a forward pass."""

    reads_initial, reads_entropy = True, False

    def __init__(self, settings: DPOConfig, pairs: Sequence[StepPair]) -> None:
        self._settings, self._pairs = settings, defaultdict[int, list[StepPair]](list)
        for pair in pairs:
            self._pairs[pair.better].append(pair)

    def compute(self, outputs: Any) -> Any:
        """Return the loss of a forward pass; metrics: reward margin, accuracy, change of both rewards, a token's KL."""
        import torch
        import torch.nn.functional as F

        from codetool.training.step_loss import StepLosses, estimate_kl

        now = outputs.log_probabilities
        places = {step: place for place, step in enumerate(dict.fromkeys(outputs.steps))}
        pairs = [pair for step in places for pair in self._pairs.get(step, ())]
        if not pairs:
            return StepLosses((now * 0).sum(), {})
        of_step = torch.tensor([places[step] for step in outputs.steps], device=now.device)
        empty = now.new_zeros(len(places))
        rewards = self._settings.beta * empty.index_add(0, of_step, now - outputs.initial)
        means = empty.index_add(0, of_step, now) / of_step.bincount()
        better, worse = torch.tensor([(places[pair.better], places[pair.worse]) for pair in pairs]).to(now.device).T
        margins, weights = rewards[better] - rewards[worse], now.new_tensor([pair.weight for pair in pairs])
        losses = F.softplus(-margins) - self._settings.sft_weight * means[better]
        metrics = {"reward_margin": margins, "accuracy": (margins > 0).to(margins.dtype)}
        metrics |= {"reward_better": rewards[better], "reward_worse": rewards[worse]}
        sums = {name: ((values * weights).sum(), weights.sum()) for name, values in metrics.items()}
        sums["kl"] = estimate_kl(now.detach(), outputs.initial).sum(), now.new_tensor(float(len(now)))
        return StepLosses((losses * weights).sum(), sums)
