"""Visit counts of a search tree, and the PUCT rule that says where the next simulation goes.

    Q(s, a) + exploration · P(s, a) · √(Σ_b N(s, b)) / (1 + N(s, a))

N counts visits, Q is the mean value of the visits, P is the prior among siblings (Silver et al. 2017, "Mastering the
game of Go without human knowledge", Nature 550, methods; PUCT after Rosin 2011).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from codetool.types import Node

Prior = Literal["latent", "policy", "uniform"]
"""What P is made of: the latent reward of a step, its probability under the policy, or nothing."""


@dataclass(eq=False)
class Visits:
    """What simulations have found at and below one step."""

    node: Node
    parent: Visits | None
    depth: int
    """Highest number of steps of a path."""
    count: int = 0
    total: float = 0.0
    """Sum of the values of the visits, each in [0, 1]."""
    in_flight: int = 0
    """Simulations that have been selected and not yet backed up. Each counts as a visit of value 0 (virtual loss)."""
    drawn: int = 0
    """Candidates drawn after the step, those in flight included."""
    closed: bool = False
    """Whether no candidate can be drawn after the step: its path has ended, or the policy or a budget has."""
    children: dict[str, Visits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Close the end of a path."""
        self.closed = self.node.finished or self.node.depth >= self.depth

    @property
    def count_with_flights(self) -> int:
        """Visits, those in flight included."""
        return self.count + self.in_flight

    @property
    def mean(self) -> float:
        """Q: the mean value of the visits, those in flight included; 0 before the first one."""
        return self.total / self.count_with_flights if self.count_with_flights else 0.0

    def widen(self, factor: float, exponent: float) -> int:
        """Return how many candidates the step may have after its visits, at least 1 (progressive widening)."""
        growth: float = float(max(self.count_with_flights, 1)) ** exponent
        return max(1, math.ceil(factor * growth))

    def add_visit(self, value: float) -> None:
        """Count a visit of this step, and so of all steps above it."""
        for step in self.iterate_upwards():
            step.count, step.total = step.count + 1, step.total + value

    def add_flight(self, change: int) -> None:
        """Change the number of simulations in flight at this step and all above it."""
        for step in self.iterate_upwards():
            step.in_flight += change

    def add_chain(self, end: Node) -> Visits:
        """Add the steps of a path that goes on from this step; return its end."""
        step = self
        for node in end.path[self.node.depth :]:
            if node.id not in step.children:
                step.children[node.id] = Visits(node, step, self.depth)
                step.drawn += node.multiplicity
            step = step.children[node.id]
        return step

    def iterate_upwards(self) -> Iterator[Visits]:
        """Yield this step and all above it, up to the root."""
        step: Visits | None = self
        while step is not None:
            yield step
            step = step.parent

    def iterate_ends(self) -> Iterator[Visits]:
        """Yield all steps at and below this one that have no children."""
        if not self.children:
            yield self
        for child in self.children.values():
            yield from child.iterate_ends()

    def can_grow(self, n: int) -> bool:
        """Whether any step at or below this one may have another candidate, of n at most."""
        return (not self.closed and self.drawn < n) or any(child.can_grow(n) for child in self.children.values())


def rank_by_visits(end: Visits) -> tuple[bool, list[tuple[int, tuple[float, float]]]]:
    """Sort key of an end: whether it is finished, then the visits of its steps from the first one on."""
    return end.node.finished, [(step.count, step.node.rank) for step in end.iterate_upwards()][::-1]


def select_child(parent: Visits, prior: Prior, temperature: float, exploration: float) -> Visits:
    """Return the child of the highest PUCT score; the seeded tie decides between equal ones."""
    children = list(parent.children.values())
    explored = math.sqrt(sum(child.count_with_flights for child in children))
    priors = compute_priors([child.node for child in children], prior, temperature)

    def compute_score(place: int) -> tuple[float, float]:
        child = children[place]
        bonus = exploration * priors[place] * explored / (1 + child.count_with_flights)
        return child.mean + bonus, child.node.tie

    return children[max(range(len(children)), key=compute_score)]


def compute_priors(siblings: Sequence[Node], prior: Prior, temperature: float) -> list[float]:
    """Return P of each sibling: the quantity of `prior` to the power of 1 / temperature, as a share of their sum.

    The priors are uniform if a sibling lacks the quantity, or if it is 0 for all.
    """
    logs = [_find_log(node, prior) for node in siblings]
    known = [value for value in logs if value is not None]
    highest = max(known) if len(known) == len(logs) else -math.inf
    if highest == -math.inf:
        return [1 / len(siblings)] * len(siblings)
    weights = [math.exp((value - highest) / temperature) for value in known]
    return [weight / math.fsum(weights) for weight in weights]


def _find_log(node: Node, prior: Prior) -> float | None:
    """Return the logarithm of the quantity that a prior is made of, None where it is unknown."""
    if prior == "latent":
        return None if node.latent is None else math.log(node.latent) if node.latent > 0 else -math.inf
    return node.log_probability if prior == "policy" else None
