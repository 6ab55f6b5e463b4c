"""Find out how much a search strategy may ask for at most, by running it on a tree that costs nothing.

The strategy itself is run, so that a strategy of a plug-in is bounded too. Its tree is the worst case: no path
finishes, every candidate is another program, and every step runs. Rewards are equal in one run and random in another;
the larger demand counts, since a strategy may draw more where scores differ, or where they do not. A strategy that goes
on only where some paths succeed bounds itself (`BoundedSearch`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from codetool.interfaces import SearchStrategy
from codetool.types import Execution, Node, Step

MAX_CANDIDATES = 20_000
"""Number of candidates of one task at which counting ends."""


@dataclass
class SearchDemand:
    """What a strategy asks for to search one task."""

    draws: Counter[int] = field(default_factory=Counter)
    """Number of requests to the policy by the number of steps of the path that they continue."""
    candidates: Counter[int] = field(default_factory=Counter)
    """Number of candidates by the same."""
    is_cut: bool = False
    """Whether counting ended at `MAX_CANDIDATES`, so that the strategy may ask for more."""


@runtime_checkable
class BoundedSearch(Protocol):
    """A strategy that knows its largest demand."""

    def bound_demand(self) -> SearchDemand:
        """Return the most that the strategy asks for to search one task."""
        ...


async def bound_search(strategy: SearchStrategy) -> SearchDemand:
    """Return the strategy's own bound, or its larger demand on trees of equal and of random rewards."""
    if isinstance(strategy, BoundedSearch):
        return strategy.bound_demand()
    demands = [await _measure_demand(strategy, draw) for draw in (lambda: 0.5, random.Random(0).random)]
    return max(demands, key=lambda demand: (demand.candidates.total(), demand.draws.total()))


async def _measure_demand(strategy: SearchStrategy, draw_score: Any) -> SearchDemand:
    demand, children = SearchDemand(), Counter[str]()

    async def expand(node: Node, n: int, **options: object) -> Sequence[Node]:
        if node.depth >= strategy.depth or demand.is_cut:
            return ()
        demand.draws[node.depth] += 1
        demand.candidates[node.depth] += n
        demand.is_cut = demand.candidates.total() >= MAX_CANDIDATES
        first, made = children[node.id], min(n, MAX_CANDIDATES)  # more are counted, and never made
        children[node.id] += made
        return tuple(_make_child(node, first + place, draw_score()) for place in range(1, made + 1))

    await strategy.run(Node("0"), expand)
    return demand


def _make_child(parent: Node, number: int, score: float) -> Node:
    name = f"{parent.id}-{number}" if parent.depth else str(number)
    step, execution = Step(f"step {name}", f"x = {name!r}", finished=False), Execution("ok", name)
    cumulative = parent.cumulative + 1.0 + score
    return Node(
        name, parent, parent.depth + 1, step, execution, 1.0, score, cumulative, tie=random.Random(name).random()
    )
