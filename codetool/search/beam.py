"""Beam search over steps, guided by the cumulative reward of executed paths."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection
from codetool.types import Node

Chains = dict[str, Sequence[Node]]
"""The steps that look-ahead has added after a step, by the step's id."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Beam(FinalSelection):
    """The best `width` paths go on with n candidates each. Paths that have ended keep their place while they rank."""

    width: PositiveInt
    """Paths kept after each step."""
    n: PositiveInt
    """Candidates for each path kept."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    lookahead: NonNegativeInt = 0
    """Steps of a chain that is drawn after each candidate before paths are compared. They are then compared by the
    relative reward at the chain's end, since chains differ in length. The chain's first step is one of the n candidates
    of the next round, so nothing that was paid for is left out."""

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `lookahead` where there is none."""
        return super().irrelevant_settings() | ({"lookahead"} if self.lookahead == 0 else set())

    async def run(self, root: Node, expand: Expand) -> Node:
        """The finished path that `select` chooses of all ever seen, else the best of those kept to the end."""
        beam, finished, ended, chains = [root], list[Node](), set[str](), Chains()
        while going := [node for node in beam if node.id not in ended]:
            grown = await gather_or_cancel(self._expand(node, chains, expand) for node in going)
            children = [child for siblings in grown for child in siblings]
            await gather_or_cancel(self._look_ahead(child, chains, expand) for child in children)
            seen = [*children, *(node for child in children for node in chains[child.id])]
            finished += [node for node in seen if node.finished]
            ended |= {node.id for node, siblings in zip(going, grown, strict=True) if not siblings}
            ended |= {child.id for child in children if child.finished}
            kept = [*(node for node in beam if node.id in ended), *children]
            beam = sorted(kept, key=lambda node: self._rank(node, chains), reverse=True)[: self.width]
        return self.select_end([*beam, *finished])

    async def _expand(self, node: Node, chains: Chains, expand: Expand) -> Sequence[Node]:
        """Return the n candidates after a step; the one that its chain begins with is not drawn again."""
        chain = chains.get(node.id, ())
        missing = self.n - len(chain[:1])
        drawn = await expand(node, missing) if missing else ()
        for first in chain[:1]:
            chains[first.id] = chain[1:]
        return list({child.id: child for child in (*chain[:1], *drawn)}.values())

    async def _look_ahead(self, node: Node, chains: Chains, expand: Expand) -> None:
        """Extend the chain after a step to `lookahead` steps, as far as it goes."""
        chain = list(chains.get(node.id, ()))
        while len(chain) < self.lookahead and (children := await expand([node, *chain][-1], 1)):
            chain.append(children[0])
        chains[node.id] = chain

    def _rank(self, node: Node, chains: Chains) -> tuple[float, float]:
        """Sort key of a path: its own rank, or with look-ahead that of its chain's end."""
        if self.lookahead == 0:
            return node.rank
        return ([node, *chains.get(node.id, ())][-1].relative_reward, node.tie)
