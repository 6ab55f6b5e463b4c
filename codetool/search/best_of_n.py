"""Best of n: draw n chains independently and keep the best."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, expand_to_leaves
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BestOfN(FinalSelection):
    """n chains. Chains whose first steps are the same program share them and part later, each with its own draw."""

    n: PositiveInt
    """Chains a task."""
    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The finished chain of highest cumulative reward, else the best unfinished one."""
        return self.select_end(
            await expand_to_leaves(root, expand, lambda node: self.n if node is root else node.multiplicity)
        )
