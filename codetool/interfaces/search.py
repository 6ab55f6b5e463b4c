"""Protocols of the search over the tree of steps: strategies, rewards, and the function that grows the tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from codetool.types import Node


class Expand(Protocol):
    """Function that a search strategy calls to add children to a node."""

    async def __call__(self, node: Node, n: int, *, show_tried: bool = False) -> Sequence[Node]:
        """Sample, execute and score up to n new children of the node; identical programs become one child.

        Returns no children at the depth limit, below a finished node, and when a budget is spent. With `show_tried` the
        prompt shows what the node's earlier children did and asks for a different step, if the prompt supports that.
        """
        ...


@runtime_checkable
class SearchStrategy(Protocol):
    """Search algorithm over the tree of steps. Only `expand` uses models, the sandbox and budgets."""

    depth: int
    """Maximum number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the finished node of highest cumulative reward, or the best unfinished node if none finished."""
        ...


@runtime_checkable
class AbandoningSearch(SearchStrategy, Protocol):
    """Search strategy that gives up leaves above the depth limit; stage=collect counts these as failed."""

    def is_abandoned(self, node: Node) -> bool:
        """Whether the search never continues below this node, because of what the path's steps did."""
        ...


@runtime_checkable
class ReadsLogProbability(Protocol):
    """Search strategy or reward that may read `Node.log_probability`."""

    @property
    def reads_log_probability(self) -> bool:
        """Whether these settings make it read the log-probability, which a policy then tells where it can."""
        ...


@runtime_checkable
class ReadsLatent(Protocol):
    """Search strategy that may read `Node.latent` itself."""

    @property
    def reads_latent(self) -> bool:
        """Whether these settings make it read the latent reward, so that the PRM is asked whatever the reward is."""
        ...

    @property
    def needs_prm(self) -> bool:
        """Whether these settings have no meaning without a PRM."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Rule that combines the rewards of a path's steps."""

    def cumulative(self, path: Sequence[Node]) -> float:
        """Compute the reward of a path from the `spot` and `latent` of its steps."""
        ...
