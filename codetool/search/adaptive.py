"""Adaptive beam search: as many candidates and paths as their scores leave in doubt.

Sampling stops where the candidates agree, after adaptive consistency (Aggarwal et al. 2023, arXiv 2305.11860). Like
AB-MCTS (arXiv 2503.04412) it decides at every step anew whether to go wider or deeper, but by thresholds, which can be
read and swept, instead of draws from posteriors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.search.selection import FinalSelection, select_top
from codetool.types import Node

Share = Annotated[float, Field(ge=0, le=1)]
FIRST_DRAW = 2
"""Candidates that are drawn before their agreement is looked at; later draws double the number."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Adaptive(FinalSelection):
    """A beam whose width and candidates follow the scores, here relative rewards: from 0 to 1 at every length."""

    width: PositiveInt
    """Maximum number of paths kept after each step."""
    n: PositiveInt
    """Maximum number of candidates for each path kept."""
    depth: PositiveInt
    """Highest number of steps of a path."""
    spread: Share
    """Paths whose score is at most this much below the best one, finished ones included, are kept."""
    agreement: Share
    """Share of a path's candidates from which on, if they are one program, no more are drawn."""
    sure: Share
    """Score of a candidate from which on no more are drawn beside it, and of a finished path that ends the search."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the end that `select` chooses, once a finished path is sure or no path is left in doubt."""
        paths, ends = [root], list[Node]()
        while paths and not any(end.finished and end.relative_reward >= self.sure for end in ends):
            grown = await gather_or_cancel(self._draw(path, expand) for path in paths)
            ends += [path for path, children in zip(paths, grown, strict=True) if not children]
            children = [child for siblings in grown for child in siblings]
            ends += [child for child in children if child.finished]
            open_paths = [child for child in children if not child.finished]
            rivals = [*open_paths, *(end for end in ends if end.finished)]
            best = max((node.relative_reward for node in rivals), default=0.0)
            near = [child for child in open_paths if child.relative_reward >= best - self.spread]
            paths = select_top(near, self.width)
        return self.select_end(ends)

    async def _draw(self, path: Node, expand: Expand) -> Sequence[Node]:
        """Return candidates after a path: the first few, and more while they neither agree nor hold a sure one."""
        children: dict[str, Node] = {}
        drawn = 0
        while drawn < self.n and not self._is_settled(children.values(), drawn):
            count = min(max(drawn, FIRST_DRAW), self.n - drawn)
            new = await expand(path, count)
            if not new:
                break
            drawn += count
            children |= {child.id: child for child in new}
        return list(children.values())

    def _is_settled(self, children: Collection[Node], drawn: int) -> bool:
        """Whether further candidates would hardly matter."""
        if not children:
            return False
        agree = max(child.multiplicity for child in children) >= self.agreement * drawn
        return agree or max(child.relative_reward for child in children) >= self.sure
