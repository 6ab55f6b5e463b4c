"""Search strategy: only the first step counts."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Widest:
    """Draws many candidates of the first step and takes the best."""

    children: PositiveInt
    """Number of candidates."""
    depth: PositiveInt
    """Maximum number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the candidate of highest cumulative reward."""
        return max(await expand(root, self.children), key=lambda node: node.cumulative, default=root)
