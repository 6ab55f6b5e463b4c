"""Reward: a step that ran, less a price for each step."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, NonNegativeFloat
from pydantic.dataclasses import dataclass

from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PricedSteps:
    """Sum of spot and latent rewards, where every step costs something."""

    price: NonNegativeFloat
    """Reward that is taken off for each step."""

    def cumulative(self, path: Sequence[Node]) -> float:
        """Return the reward of the path."""
        return sum(node.spot + (node.latent or 0.0) - self.price for node in path)
