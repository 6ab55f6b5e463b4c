"""Beam search over steps, guided by the cumulative reward of executed paths."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, select_top
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Beam(FinalSelection):
    """The best `width` paths go on with n candidates each. Paths that have ended keep their place while they rank."""

    width: PositiveInt
    """Paths kept after each step."""
    n: PositiveInt
    """Candidates for each path kept."""
    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The best finished path ever seen, else the best of those kept to the end."""
        beam, finished, ended = [root], list[Node](), set[str]()
        while going := [node for node in beam if node.id not in ended]:
            grown = await gather_or_cancel(expand(node, self.n) for node in going)
            children = [child for siblings in grown for child in siblings]
            finished += [child for child in children if child.finished]
            ended |= {node.id for node, siblings in zip(going, grown, strict=True) if not siblings}
            ended |= {child.id for child in children if child.finished}
            beam = select_top([*(node for node in beam if node.id in ended), *children], self.width)
        return self.select_end([*beam, *finished])
