"""Rank and select nodes of a search tree, and choose the result among the paths at which a search ends."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.answers.final_answer import extract_path_answer
from codetool.benchmarks.answer_checker.equal_answers import group_equal_answers
from codetool.concurrency import gather_or_cancel
from codetool.interfaces import Expand
from codetool.types import Node

Select = Literal["reward", "vote", "weighted_vote", "two_stage"]
"""How the result is chosen among finished paths: see `FinalSelection.select`."""
LIKELY_OUTCOME = 0.5
"""Latent reward of the finishing step from which a PRM says that the outcome is good: its label of high potential is
the more probable one."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FinalSelection:
    """The setting of a search that can end with several finished paths: which of them is its result."""

    select: Select = "reward"
    """`reward`: the path of highest cumulative reward. `vote`: the answer that most sampled candidates give, where two
    answers are one if the answer checker takes one for the other. `weighted_vote`: the answer whose paths have the
    highest sum of rewards. `two_stage`: first the paths whose outcome the PRM judges good, by the latent reward of the
    step that finishes; of them the one with the largest share of steps that ran. Reward decides between equal ones."""

    @property
    def reads_latent(self) -> bool:
        """Whether the choice reads latent rewards itself, whatever the reward is made of."""
        return self.select == "two_stage"

    @property
    def needs_prm(self) -> bool:
        """Whether these settings have no meaning without a PRM: `two_stage` has one, see `judge_outcome`."""
        return False

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change a result: `select` at its default."""
        return frozenset({"select"} if self.select == "reward" else ())

    def select_end(self, ends: Iterable[Node]) -> Node:
        """The finished path that `select` chooses, else the unfinished one of highest rank; at least one is needed."""
        return select_best(ends, self.select)


def rank(node: Node) -> tuple[float, float]:
    """Sort key: cumulative reward, then the seeded tie."""
    return node.rank


def select_top(nodes: Iterable[Node], width: int) -> list[Node]:
    """The `width` nodes of highest rank, best first."""
    return heapq.nlargest(width, nodes, key=rank)


def select_best(ends: Iterable[Node], select: Select = "reward") -> Node:
    """The finished node that `select` chooses, else the unfinished one of highest rank. `ends` is not empty.

    A node that occurs twice counts once.
    """
    nodes = {node.id: node for node in ends}
    finished = [node for node in nodes.values() if node.finished]
    if not finished:
        return max(nodes.values(), key=rank)
    score = _MAKE_SCORES[select](finished)
    return max(finished, key=lambda node: (score(node), node.rank))


Score = Callable[[Node], float | tuple[float, ...]]
"""Sort key of a finished node; nodes with an equal one are ranked by reward."""


def judge_outcome(node: Node) -> bool:
    """Whether the PRM judges the outcome of a finished path good; without a PRM, whether the last step ran."""
    return node.spot > 0 if node.latent is None else node.latent >= LIKELY_OUTCOME


def _score_by_stages(node: Node) -> tuple[float, float]:
    return (float(judge_outcome(node)), math.fsum(step.spot for step in node.path) / node.depth)


def _count_votes(finished: Sequence[Node], votes: Callable[[Node], float]) -> Score:
    """Score a node by the votes of all nodes with its answer. An empty answer, which is never right, has none."""
    answers = {node.id: answer for node in finished if (answer := extract_path_answer(node))}
    groups = dict(zip(answers, group_equal_answers(list(answers.values())), strict=True))
    totals = {
        group: math.fsum(votes(node) for node in finished if groups.get(node.id) == group) for group in groups.values()
    }
    return lambda node: totals[groups[node.id]] if node.id in groups else -math.inf


_MAKE_SCORES: Mapping[Select, Callable[[Sequence[Node]], Score]] = {
    "reward": lambda finished: lambda node: 0.0,
    "vote": lambda finished: _count_votes(finished, lambda node: node.multiplicity),
    "weighted_vote": lambda finished: _count_votes(finished, lambda node: node.multiplicity * node.cumulative),
    "two_stage": lambda finished: _score_by_stages,
}


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
