"""The search of the CodeTool paper: at every step the best of n candidates (arXiv 2503.20840, with n = 2)."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, rank
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Greedy(FinalSelection):
    """A beam of width 1: n candidates a step, the best is followed, the others are left for good."""

    n: PositiveInt
    """Candidates a step."""
    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The end of the path followed; if it is unfinished, the best finished step passed over on the way."""
        node, finished = root, list[Node]()
        while children := await expand(node, self.n):
            node = max(children, key=rank)
            finished += [child for child in children if child.finished]
        return self.select_end([node, *finished])
