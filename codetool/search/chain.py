"""A single chain without alternatives: one candidate per step."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Chain:
    """One candidate a step."""

    depth: PositiveInt
    """Highest number of steps of a path."""
    temperature: Annotated[float, Field(ge=0)]
    """Temperature of policies that have one, unless it is set: their YAML reads it here. The search itself does not."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The end of the chain."""
        node = root
        while children := await expand(node, 1):
            node = children[0]
        return node
