"""First-error search: find by bisection where failed chains go wrong (OmegaPRM, Luo et al. 2024, arXiv 2406.06592).

A state is a path of steps. Its value MC is the share of `rollouts` chains from it that succeed. A chain fails from some
step on: before it, states have an MC above 0; from it on, no rollout succeeds. A binary search finds this first error
with ⌈log2 T⌉ probes of T steps, where an exhaustive tree branches after every step.

Every probed state with 0 < MC < 1 goes into a pool with each of its failed rollouts. The next binary search follows the
failed rollout r of the state s of the highest

    Q(s, r) + U(s) = alpha^(1 - MC(s)) · beta^|r| + exploration · √(Σ_s' N(s')) / (1 + N(s))

where |r| is the number of steps of r after s, and N(s) counts the binary searches from s. States that mostly succeed
come first: a failure from them is an error that could have been avoided.

A rollout succeeds if it finishes and the PRM judges its last step good (`codetool.search.selection.judge_outcome`):
`prm=oracle` checks the answer, and without a PRM it is whether the last step ran. All rollouts go to their ends, so
that stage=collect labels the steps of the tree as those of any other search.

Differences from the paper: a rollout has steps of code instead of parts of about equal length, |r| counts these steps
instead of tokens by 500, and a task whose first rollouts all succeed or all fail is left after them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, judge_outcome
from codetool.search.upper_bound import SearchDemand
from codetool.types import Node

Base = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FirstError(FinalSelection):
    """Rollouts from the root, then binary searches for the first error of failed rollouts."""

    rollouts: PositiveInt
    """Rollouts from the root, and from each probed state (k in the paper)."""
    searches: NonNegativeInt
    """Maximum number of binary searches of a task; 0 makes rollouts from the root only."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    alpha: Base
    """Base of the value in the selection score, in (0, 1]; the smaller, the earlier come states that mostly succeed."""
    beta: Base
    """Base of the length of a rollout, in (0, 1]; the smaller, the earlier come short rollouts."""
    exploration: NonNegativeFloat
    """Weight of states from which few binary searches were made (c_puct)."""

    @property
    def reads_latent(self) -> bool:
        """True: the latent reward of the finishing step says whether a rollout succeeds."""
        return True

    def bound_demand(self) -> SearchDemand:
        """Return the most that it asks for: ⌈log2 depth⌉ probes a binary search, all from first steps."""
        probes = 1 + self.searches * math.ceil(math.log2(self.depth))
        later = Counter(dict.fromkeys(range(1, self.depth), probes * self.rollouts))
        return SearchDemand(draws=Counter({0: 1}) + later, candidates=Counter({0: self.rollouts}) + later)

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the end that `select` chooses, after all binary searches or once none is left to make."""
        search = _Bisection(self, expand)
        await search.probe(root)
        for _ in range(self.searches):
            if (rollout := search.take_rollout()) is None:
                break
            await search.find_first_error(rollout)
        return self.select_end(search.ends.values())


@plain_dataclass(eq=False)
class _State:
    """A probed state."""

    node: Node
    value: float
    """MC: share of the rollouts from it that succeed."""
    searches: int = 0
    """N: binary searches along its rollouts."""


@plain_dataclass(frozen=True)
class _FailedRollout:
    """A rollout that did not succeed, and the state that it started from."""

    state: _State
    end: Node

    @property
    def length(self) -> int:
        """Number of steps after the state."""
        return self.end.depth - self.state.node.depth


@plain_dataclass
class _Bisection:
    """The states and rollouts of one task."""

    settings: FirstError
    expand: Expand
    states: dict[str, _State] = field(default_factory=dict)
    """Probed states by node id."""
    pool: list[_FailedRollout] = field(default_factory=list)
    ends: dict[str, Node] = field(default_factory=dict)
    """Ends of paths by node id."""
    drawn: dict[str, int] = field(default_factory=dict)
    """Multiplicity of each node up to now."""
    parents: set[str] = field(default_factory=set)
    """Ids of the nodes that have children."""

    async def probe(self, node: Node) -> float:
        """Return the value of a state, from new rollouts unless it is known; put its failed rollouts into the pool."""
        if node.id not in self.states:
            rollouts = await self._roll_out(node, self.settings.rollouts)
            complete = [(end, count) for end, count in rollouts if self._is_complete(end)]
            total = sum(count for _, count in complete)
            wins = sum(count for end, count in complete if _succeeds(end))
            state = self.states[node.id] = _State(node, wins / total if total else 0.0)
            if 0 < state.value < 1:
                self.pool += [_FailedRollout(state, end) for end, _ in complete if not _succeeds(end)]
        return self.states[node.id].value

    def take_rollout(self) -> _FailedRollout | None:
        """Remove the rollout of the highest score from the pool and return it; the first drawn of equal ones."""
        if not self.pool:
            return None
        explored = math.sqrt(sum(state.searches for state in self.states.values()))
        chosen = max(self.pool, key=lambda rollout: self._score(rollout, explored))
        self.pool.remove(chosen)
        chosen.state.searches += 1
        return chosen

    async def find_first_error(self, rollout: _FailedRollout) -> None:
        """Probe states of a failed rollout, the middle one first, until the first without a success is known."""
        path = rollout.end.path
        good, bad = rollout.state.node.depth, rollout.end.depth  # steps after which success is possible, and is not
        while bad - good > 1:
            middle = (good + bad) // 2
            if await self.probe(path[middle - 1]) > 0:
                good = middle
            else:
                bad = middle

    def _score(self, rollout: _FailedRollout, explored: float) -> float:
        settings, state = self.settings, rollout.state
        value: float = settings.alpha ** (1 - state.value) * settings.beta**rollout.length
        return value + settings.exploration * explored / (1 + state.searches)

    async def _roll_out(self, node: Node, count: int) -> Sequence[tuple[Node, int]]:
        """Continue a path by so many rollouts; return their ends, each with the number of rollouts that end there."""
        children = await self.expand(node, count)
        if not children:
            if node.id not in self.parents:
                self.ends[node.id] = node
            return [(node, count)]
        added = [child.multiplicity - self.drawn.get(child.id, 0) for child in children]
        self.drawn |= {child.id: child.multiplicity for child in children}
        self.parents.add(node.id)
        self.ends.pop(node.id, None)
        found = await gather_or_cancel(map(self._roll_out, children, added))
        return [end for below in found for end in below]

    def _is_complete(self, end: Node) -> bool:
        """Whether a path has ended by itself; else a budget has ended it, or the policy has nothing to say."""
        return end.finished or end.depth >= self.settings.depth


def _succeeds(end: Node) -> bool:
    return end.finished and judge_outcome(end)
