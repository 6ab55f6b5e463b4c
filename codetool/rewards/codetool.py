"""The reward of CodeTool: spot and latent reward of a step, aggregated along a path (arXiv 2503.20840)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.types import Node

RewardWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
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

    def hashed_option(self) -> str:
        """Return the option that these weights stand for, so that equal settings are one result in whatever words."""
        return "without_latent" if self.latent == 0 else "without_spot" if self.spot == 0 else "codetool"

    def cumulative(self, path: Sequence[Node]) -> float:
        """Reward of the path, 0 for the empty one. A step without a PRM score counts with its spot term alone."""
        return AGGREGATES[self.aggregate]([self._reward_of(node) for node in path]) if path else 0.0

    def _reward_of(self, node: Node) -> float:
        return self.spot * node.spot + (self.latent * node.latent if node.latent is not None else 0.0)
