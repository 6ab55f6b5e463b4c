"""One path without alternatives: what the policy does by itself."""

from __future__ import annotations

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Chain:
    """One candidate a step. Its YAML sets the policy's temperature to 0."""

    depth: PositiveInt
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The end of the chain."""
        node = root
        while children := await expand(node, 1):
            node = children[0]
        return node
