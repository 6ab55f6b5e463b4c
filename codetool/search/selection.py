"""Rank and select nodes of a search tree."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.types import Node


def rank(node: Node) -> tuple[float, float]:
    """Sort key: cumulative reward, then the seeded tie."""
    return node.rank


def select_top(nodes: Iterable[Node], width: int) -> list[Node]:
    """The `width` nodes of highest rank, best first."""
    return heapq.nlargest(width, nodes, key=rank)


def select_best(ends: Iterable[Node]) -> Node:
    """The finished node of highest rank, else the unfinished one of highest rank. `ends` holds at least one node."""
    return max(ends, key=lambda node: (node.finished, node.rank))


async def expand_to_leaves(node: Node, expand: Expand, count: Callable[[Node], int]) -> Sequence[Node]:
    """The ends of all paths below `node`, in the order of the tree; `count` says how many candidates a node gets.

    Every path goes on as soon as its own step is there; none waits for others at its depth.
    """
    children = await expand(node, count(node))
    if not children:
        return (node,)
    return [
        leaf
        for below in await gather_or_cancel(expand_to_leaves(child, expand, count) for child in children)
        for leaf in below
    ]
