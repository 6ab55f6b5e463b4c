"""The reward of CodeTool: spot and latent reward of a step, aggregated along a path (arXiv 2503.20840)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

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

    @model_validator(mode="after")
    def _require_sum(self) -> Self:
        if self.length_exponent and self.aggregate != "sum":
            raise ValueError(
                f"reward.length_exponent={self.length_exponent:g} divides a sum by the length of the path, and "
                f"reward.aggregate={self.aggregate}: choose reward.aggregate=sum, or leave reward.length_exponent=0."
            )
        return self

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `length_exponent` at its default."""
        return frozenset() if self.length_exponent else frozenset({"length_exponent"})

    def hashed_option(self) -> str:
        """Return the option that these weights stand for, so that equal settings are one result in whatever words."""
        return "without_latent" if self.latent == 0 else "without_spot" if self.spot == 0 else "codetool"

    def cumulative(self, path: Sequence[Node]) -> float:
        """Reward of the path, 0 for the empty one. A step without a PRM score counts with its spot term alone."""
        if not path:
            return 0.0
        total = AGGREGATES[self.aggregate]([self._reward_of(node) for node in path])
        return total / math.pow(len(path), self.length_exponent)

    def _reward_of(self, node: Node) -> float:
        return self.spot * node.spot + (self.latent * node.latent if node.latent is not None else 0.0)
