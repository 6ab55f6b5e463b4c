"""The whole tree, as process data needs it."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.search.selection import chosen, leaves
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Exhaustive:
    """n candidates after every step: at most n + n² + … + n^depth nodes a task."""

    n: PositiveInt
    """Candidates a step."""
    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The best leaf: a finished one of highest cumulative reward, else an unfinished one."""
        return chosen(await leaves(root, expand, lambda _: self.n))
