"""Monte Carlo tree search over steps, with the PUCT rule of AlphaGo Zero (Silver et al. 2017, Nature 550:354).

A simulation goes down from the root, at each step to the child of the highest PUCT score (`codetool.search.puct` has
the formula). It stops at a step that may have another candidate and draws one there, or at the end of a path, which it
visits again. The value of where it came to is counted at all steps above.

A step with N visits may have ⌈widening_factor · N^widening_exponent⌉ candidates, at least 1 and at most n (progressive
widening, Couëtoux et al. 2011). Simulations in flight are selected one after the other, each with the ones before it
counted as visits of value 0 (virtual loss, Chaslot et al. 2008), then run at the same time, then counted in their
order: timing changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.puct import Prior, Visits, rank_by_visits, select_child
from codetool.search.selection import FinalSelection, expand_to_leaves
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MCTS(FinalSelection):
    """Simulations go where values are high, where priors are high, and where few have been."""

    simulations: PositiveInt
    """Simulations of a task; each draws one candidate at most, and `rollouts` chains after it."""
    n: PositiveInt
    """Maximum number of candidates after a step."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    exploration: NonNegativeFloat
    """Weight of prior and visit counts against values (c_puct)."""
    prior: Prior
    """Prior of a step, known before it runs: its latent reward, its probability under the policy, or uniform, which is
    also taken where a sibling lacks the others."""
    prior_temperature: PositiveFloat
    """The prior is this quantity to the power of 1 / temperature; large temperatures approach `uniform`."""
    value: Literal["reward", "prm", "rollouts"]
    """Value of a step, known after it ran, in [0, 1]. `reward`: the reward of its path, relative to the lowest and
    highest of paths of this length. `prm`: the mean latent reward of its path. `rollouts`: the mean relative reward of
    chains after it, 0 for a chain that does not finish."""
    rollouts: PositiveInt
    """Chains after each new step with `value: rollouts`. They stay in the tree; each is a visit of all its steps."""
    widening_factor: PositiveFloat
    """Candidates that a step may have at its first visit."""
    widening_exponent: Annotated[float, Field(ge=0, le=1)]
    """Exponent with which this number grows with the visits; 0 keeps it."""
    parallel: PositiveInt
    """Simulations in flight: the more, the faster the search, and the less each knows of the others."""
    choose: Literal["reward", "visits"]
    """`reward`: the result is the end that `select` chooses. `visits`: the path whose steps have most visits, compared
    from the first step on, among the finished paths if there are any."""

    @property
    def reads_log_probability(self) -> bool:
        """Whether the prior is the policy's."""
        return self.prior == "policy"

    @property
    def reads_latent(self) -> bool:
        """Whether the search reads latent rewards itself, whatever the reward is made of."""
        return self.prior == "latent" or self.needs_prm or (self.choose == "reward" and super().reads_latent)

    @property
    def needs_prm(self) -> bool:
        """Whether steps have no value without a PRM."""
        return self.value == "prm"

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings without effect, given the others."""
        used = {"prior_temperature": self.prior != "uniform", "rollouts": self.value == "rollouts"}
        used["select"] = self.choose == "reward"
        return super().irrelevant_settings() | {name for name, is_used in used.items() if not is_used}

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the chosen end after all simulations, or once nothing is left to draw or a budget is spent."""
        top, left = Visits(root, None, self.depth), self.simulations
        while left > 0 and top.can_grow(self.n):
            batch = self._select_batch(top, min(self.parallel, left))
            left -= len(batch)
            draws = Counter(step for step in batch if not step.closed)
            found = await gather_or_cancel(self._draw(step, count, expand) for step, count in draws.items())
            for step in batch:
                step.add_flight(-1)
            revisited = [(step, step.total / step.count) for step in batch if step not in draws]
            for step, value in [*revisited, *(visit for visits in found for visit in visits)]:
                step.add_visit(value)
        ends = list(top.iterate_ends())
        if self.choose == "reward":
            return self.select_end(end.node for end in ends)
        return max(ends, key=rank_by_visits).node

    def _select_batch(self, top: Visits, size: int) -> list[Visits]:
        """Return where the next simulations stop; fewer than `size` if one of them meets only candidates in flight."""
        batch: list[Visits] = []
        while len(batch) < size and (step := self._select(top)) is not None:
            step.add_flight(1)
            batch.append(step)
        return batch

    def _select(self, step: Visits) -> Visits | None:
        """Go down to a step that may have another candidate, or to the end of a path; None if all are in flight."""
        while step.closed or step.drawn >= min(self.n, step.widen(self.widening_factor, self.widening_exponent)):
            if not step.children:
                return step if step.closed else None
            step = select_child(step, self.prior, self.prior_temperature, self.exploration)
        step.drawn += 1
        return step

    async def _draw(self, step: Visits, count: int, expand: Expand) -> Sequence[tuple[Visits, float]]:
        """Draw candidates after a step. Return a visit and its value for each of them, or for each of its chains."""
        children = await expand(step.node, count)
        step.closed = not children
        found = await gather_or_cancel(self._visit(step, child, expand) for child in children)
        return [visit for visits in found for visit in visits]

    async def _visit(self, parent: Visits, child: Node, expand: Expand) -> Sequence[tuple[Visits, float]]:
        """Return the visits of a drawn child; a program that was drawn before is visited again with its mean value."""
        known = parent.children.get(child.id)
        if known is None:
            step = parent.children[child.id] = Visits(child, parent, self.depth)
            return [*await self._evaluate(step, expand)] * child.multiplicity
        draws, known.node = child.multiplicity - known.node.multiplicity, child
        return [(known, known.total / known.count)] * draws

    async def _evaluate(self, step: Visits, expand: Expand) -> Sequence[tuple[Visits, float]]:
        """Return the visits of a new step: itself, or the ends of the chains after it."""
        node = step.node
        if self.value == "reward":
            return [(step, node.relative_reward)]
        if self.value == "prm":
            return [(step, math.fsum(each.latent or 0.0 for each in node.path) / node.depth)]
        ends = await expand_to_leaves(node, expand, lambda at: self.rollouts if at is node else at.multiplicity)
        return [
            (step.add_chain(end), end.relative_reward if end.finished else 0.0)
            for end in ends
            for _ in range(1 if end is node else end.multiplicity)
        ]
