"""Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300) on the siblings of rollout trees.

For a token t of a step with advantage A (`codetool.training.fork_advantages`) the loss is

    L_t = - min(ρ A, clip(ρ, 1 - clip_low, 1 + clip_high) A) + kl_weight · (exp(d) - d - 1),
    ρ = π(t) / π_old(t),   d = log π_0(t) - log π(t),

where π_old(t) is the probability recorded when the step was drawn, under the policy at temperature 1, and π_0 is the
policy that training starts from, which also stands for π_old where nothing was recorded. The last term is the k3
estimator of the KL divergence (Schulman 2020, http://joschu.net/blog/kl-approx.html). The loss of an update is the
weighted mean over tokens; a step counts as often as its program was sampled, and `token_weight: step` divides its
weight by its number of tokens. Groups of siblings without spread are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Operational
from codetool.training.fork_advantages import Advantages, AdvantageSettings, compute_advantages
from codetool.training.policy_examples import PolicyExamples, encode_steps
from codetool.training.sft_examples import ChatEncoder


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GRPOConfig(AdvantageSettings):
    """Settings of `objective=grpo`."""

    learning_rate: Annotated[float, Field(gt=0, le=1e30), Operational]
    """Default of `optimizer.lr` with `tuning=lora` and `qlora`."""
    clip_low: Annotated[float, Field(ge=0, le=1)]
    """Distance below 1 from which on the ratio of probabilities is clipped."""
    clip_high: PositiveFloat
    """Distance above 1 from which on it is clipped."""
    kl_weight: NonNegativeFloat
    """Weight of the KL divergence to the initial policy."""
    token_weight: Literal["step", "token"]
    """`step`: all steps count the same, whatever their length. `token`: all tokens do."""

    data_file = "policy_steps.jsonl"

    def is_unhashed(self) -> bool:
        """Return False: it is a choice of its own."""
        return False

    def build_examples(self, records: Sequence[Any], tokenizer: ChatEncoder, max_tokens: int) -> PolicyExamples:
        """Return the examples of the steps whose siblings differ."""
        steps, too_long = encode_steps(records, tokenizer, max_tokens)
        advantages = compute_advantages(records, self)
        learned = {i: step for i, step in enumerate(steps) if step is not None and i in advantages.by_step}
        examples = [
            step.to_example(i, step.record.multiplicity / (len(step.completion) if self.token_weight == "step" else 1))
            for i, step in learned.items()
        ]
        recorded = {i: step.log_probabilities for i, step in learned.items() if step.log_probabilities}
        loss = GRPOLoss(self, advantages, recorded, is_recorded=len(recorded) == len(learned))
        reason = "all siblings have the same reward; take harder or easier tasks, or sample more, search.n=4"
        summary = _describe(advantages, len(learned), len(recorded))
        return PolicyExamples(examples, too_long, loss, summary, reason)


def _describe(advantages: Advantages, learned: int, recorded: int) -> str:
    spread = advantages.groups - advantages.without_spread
    known = "all" if recorded == learned else f"{recorded:,}"
    return (
        f"objective=grpo: {learned:,} steps of the {spread:,} groups of siblings with a spread; "
        f"{advantages.without_spread:,} of {advantages.groups:,} groups without one left out; log-probabilities of "
        f"{known} steps recorded when they were drawn"
        + ("" if recorded == learned else ", those of the others are computed before the first update")
    )


class GRPOLoss:
    """The clipped loss of the tokens of a forward pass."""

    reads_entropy = True

    def __init__(
        self,
        settings: GRPOConfig,
        advantages: Advantages,
        recorded: Mapping[int, Sequence[float]],
        *,
        is_recorded: bool,
    ) -> None:
        self._settings, self._advantages, self._recorded = settings, advantages.by_step, recorded
        self._left_out = advantages.without_spread / max(advantages.groups, 1)
        self.reads_initial = not is_recorded or settings.kl_weight > 0

    def compute(self, outputs: Any) -> Any:
        """Return the loss; metrics: clip share, KL, entropy, absolute advantage, share of groups left out."""
        import torch

        from codetool.training.step_loss import StepLosses, estimate_kl, gather_by_step

        now, settings = outputs.log_probabilities, self._settings
        recorded = {i: torch.tensor(self._recorded[i]) for i in set(outputs.steps) & self._recorded.keys()}
        old = gather_by_step(recorded, outputs.steps, outputs.initial)
        advantages = now.new_tensor([self._advantages.get(i, 0.0) for i in outputs.steps])
        ratios = (now - old).exp()
        clipped = ratios.clamp(1 - settings.clip_low, 1 + settings.clip_high)
        gains = torch.minimum(ratios * advantages, clipped * advantages)
        reference = outputs.initial if self.reads_initial else old
        kl = estimate_kl(now, reference)
        metrics = {
            "clip_share": (ratios * advantages > gains).to(now.dtype),
            "kl": kl,
            "entropy": outputs.entropies,
            "mean_abs_advantage": advantages.abs(),
            "groups_left_out": torch.full_like(now, self._left_out),
        }
        weights, total = outputs.weights, outputs.weights.sum()
        losses = settings.kl_weight * kl - gains
        return StepLosses(
            (losses * weights).sum(), {name: ((values * weights).sum(), total) for name, values in metrics.items()}
        )
