"""Depth-first search: one path at a time, another way where it leads nowhere (DFSDT of ToolLLM, arXiv 2307.16789)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand
from codetool.search.selection import select_best, select_top
from codetool.types import Node


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DepthFirst:
    """The first path that finishes ends the search; a dead end goes back to the nearest step with a way left.

    Dead ends are the depth limit, a step without code that is no answer (the policy gave up), and a last step that
    failed.
    """

    n: PositiveInt
    """Maximum number of children tried per node."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    order: Literal["drawn", "reward"]
    """`drawn`: one candidate at a time, the next only when it is needed. `reward`: all n at once, the best first."""

    show_tried: bool
    """Whether the policy reads what the ways before did when it is asked for another; its prompt needs words for it."""
    give_up: Literal["retry", "back"] = "retry"
    """After a step with which the policy gives up: `retry` asks for another step at the same place; `back` abandons
    that place and asks for another way one step before it, as in ToolLLM."""

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `give_up` at its default."""
        return frozenset({"give_up"} if self.give_up == "retry" else ())

    async def run(self, root: Node, expand: Expand) -> Node:
        """The first path that finished with a step that ran, else the best end of all paths."""
        ends: list[Node] = []
        return await self._descend(root, expand, ends) or select_best(ends)

    async def _descend(self, node: Node, expand: Expand, ends: list[Node]) -> Node | None:
        """The first solution at or below a node, None if there is none: then the ends below it have been added."""
        if node.finished and node.spot > 0:
            return node
        seen = set[str]()
        for count in () if node.finished or _has_given_up(node) else self._draw_sizes:
            children = await expand(node, count, show_tried=self.show_tried)
            if not children:  # the depth limit, or a budget is spent
                break
            for child in select_top(children, count):
                if child.id not in seen and (found := await self._descend(child, expand, ends)) is not None:
                    return found
                if self.give_up == "back" and _has_given_up(child):
                    return None
            seen |= {child.id for child in children}
        if not seen:
            ends.append(node)
        return None

    @property
    def _draw_sizes(self) -> Sequence[int]:
        """Candidates of each draw after a step."""
        return (self.n,) if self.order == "reward" else (1,) * self.n


def _has_given_up(node: Node) -> bool:
    """Whether a node's step has no code and is no answer."""
    return node.step is not None and node.step.code is None and not node.finished
