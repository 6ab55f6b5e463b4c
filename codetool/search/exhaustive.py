"""Exhaustive search: expand the whole tree, to collect process data."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, expand_to_leaves
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Exhaustive(FinalSelection):
    """n candidates after every step: at most n + n² + … + n^depth nodes a task."""

    n: PositiveInt
    """Candidates a step."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    failures: PositiveInt | None = None
    """Failed steps of a path at which it is given up, and counts as failed; None never gives up.

    A policy that has gone astray writes one failing step after another, most of a tree of them.
    """

    def is_abandoned(self, node: Node) -> bool:
        """Whether the path to a node has had too many failed steps."""
        return self.failures is not None and sum(map(_has_failed, node.path)) >= self.failures

    async def run(self, root: Node, expand: Expand) -> Node:
        """The best leaf: a finished one of highest cumulative reward, else an unfinished one."""

        async def unless_given_up(node: Node, n: int, *, show_tried: bool = False) -> Sequence[Node]:
            return () if self.is_abandoned(node) else await expand(node, n, show_tried=show_tried)

        return self.select_end(await expand_to_leaves(root, unless_given_up, lambda _: self.n))


def _has_failed(node: Node) -> bool:
    return node.execution is not None and not node.execution.ran
