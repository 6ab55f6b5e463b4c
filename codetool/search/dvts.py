"""Diverse verifier tree search: independent subtrees, each of which follows its best step.

Source: Beeching et al. 2024, "Scaling test-time compute with open models". Unlike in a beam, the paths of high reward
cannot all come from one first step.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, rank
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DVTS(FinalSelection):
    """`trees` greedy searches that begin with different first steps and never compare with each other until the end.

    The first candidates are dealt to the trees in the order in which they were drawn. Equal programs are one candidate,
    so a policy that writes fewer different first steps than there are trees has fewer trees.
    """

    trees: PositiveInt
    """Subtrees; 1 is the search `greedy`."""
    n: PositiveInt
    """Candidates of each subtree at every step."""
    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the end that `select` chooses among those of all subtrees."""
        first = await expand(root, self.trees * self.n)
        groups = [first[place :: self.trees] for place in range(min(self.trees, len(first)))]
        ends = await gather_or_cancel(self._follow_best(group, expand) for group in groups)
        return self.select_end([end for group in ends for end in group] or [root])

    async def _follow_best(self, siblings: Sequence[Node], expand: Expand) -> list[Node]:
        """Return the end of the path of best steps, and the finished steps that it passed over."""
        ends: list[Node] = []
        while siblings:
            best = max(siblings, key=rank)
            ends += [node for node in siblings if node.finished]
            siblings = await expand(best, self.n)
        return [*ends, best]
