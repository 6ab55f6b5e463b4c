"""The reward of CodeTool: spot and latent reward of a step, aggregated along a path (arXiv 2503.20840)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from codetool.errors import MissingError
from codetool.types import Node

RewardWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
LengthExponent = Annotated[float, Field(ge=0, le=10)]
Aggregate = Literal["sum", "mean", "min", "last", "product"]

AGGREGATES: dict[Aggregate, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda rewards: math.fsum(rewards) / len(rewards),
    "min": min,
    "last": lambda rewards: rewards[-1],
    "product": math.prod,
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StepReward:
    """Weighted sum of a step's spot and latent reward, combined along the path."""

    spot: RewardWeight
    """Weight of the on-the-spot reward, which is 0 or 1."""
    latent: RewardWeight
    """Weight of the latent reward, which is in [0, 1]."""
    aggregate: Aggregate
    """How the rewards of a path's steps combine."""
    length_exponent: LengthExponent = 0.0
    """Exponent of the number of steps by which a sum is divided: 0 is the sum and 1 the mean. With n steps, the reward
    of a path is the sum of its steps' rewards / n**length_exponent. Only for `aggregate: sum`."""
    certainty: RewardWeight = 0.0
    """Weight of the policy's certainty of the step, which is in (0, 1]: see `compute_certainty`."""

    @model_validator(mode="after")
    def _require_sum(self) -> Self:
        if self.length_exponent and self.aggregate != "sum":
            raise ValueError(
                f"reward.length_exponent={self.length_exponent:g} divides a sum by the length of the path, and "
                f"reward.aggregate={self.aggregate}: choose reward.aggregate=sum, or leave reward.length_exponent=0."
            )
        return self

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `length_exponent` and `certainty` if they are 0."""
        values = {"length_exponent": self.length_exponent, "certainty": self.certainty}
        return frozenset(name for name, value in values.items() if value == 0)

    @property
    def reads_log_probability(self) -> bool:
        """Whether the reward needs the log-probabilities of the policy's tokens."""
        return self.certainty > 0

    def hashed_option(self) -> str:
        """Return the option that these weights stand for, so that equal settings are one result in whatever words."""
        if self.certainty > 0:
            return "certainty"
        return "without_latent" if self.latent == 0 else "without_spot" if self.spot == 0 else "codetool"

    def cumulative(self, path: Sequence[Node]) -> float:
        """Reward of the path, 0 for the empty one. A step without a PRM score counts with its spot term alone."""
        if not path:
            return 0.0
        total = AGGREGATES[self.aggregate]([self._reward_of(node) for node in path])
        return total / math.pow(len(path), self.length_exponent)

    def _reward_of(self, node: Node) -> float:
        reward = self.spot * node.spot + (self.latent * node.latent if node.latent is not None else 0.0)
        return reward + self.certainty * compute_certainty(node) if self.certainty else reward


def compute_certainty(node: Node) -> float:
    """Return the policy's certainty of a step, exp(mean log-probability of its tokens), in [0, 1].

    It is the geometric mean of the tokens' probabilities at temperature 1, and 0 for a step without tokens, such as one
    whose prompt was refused. Raises MissingError if the log-probability is unknown.
    """
    if node.tokens_out == 0:
        return 0.0
    if node.log_probability is None or node.tokens_out is None:
        raise MissingError(
            "reward.certainty needs the log-probabilities of the policy's tokens, and there are none: the server does "
            "not give them (`logprobs`), or the recorded run has none. Choose another reward=, another policy=, or "
            "policy.backend=transformers or vllm."
        )
    return math.exp(min(0.0, node.log_probability) / node.tokens_out)
