"""Expand a search tree: the one module that calls policy, sandbox, PRM and reward.

A strategy only calls `expand`. What costs something happens behind it, is counted there and bounded there. The tree is
a function of the task, the seed and the strategy's calls: every draw is named by its place in the tree, so timing
changes nothing (but see `Budget`). Branching copies memory only: what a step changed behind a tool stays changed.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from codetool.concurrency import gather_or_cancel, gather_pair
from codetool.costs.component_clock import ComponentClock
from codetool.costs.execution_cost import measure_candidates, measure_execution
from codetool.costs.rates import Rates
from codetool.interfaces import CallTool, Executor, Policy, ProcessRewardModel, Reward
from codetool.ledger import Ledger
from codetool.runs.seeding import draw_uniform
from codetool.search.budget import Budget
from codetool.search.merging import ProgramKey, group_by_program, make_program_key
from codetool.search.relative_reward import compute_relative_reward
from codetool.search.states import InterpreterTree
from codetool.types import Candidate, Execution, HttpRequest, Node, SearchResult, Step, Task, ToolAnswer


@dataclass
class _Children:
    """What has been drawn below one node so far."""

    drawn: int = 0
    children: dict[ProgramKey, Node] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Expansion:
    """The growing tree of one task. Leaving its context ends every process that it started."""

    def __init__(
        self,
        *,
        task: Task,
        policy: Policy,
        executor: Executor,
        prm: ProcessRewardModel | None,
        reward: Reward,
        call_tool: CallTool,
        depth: int,
        budget: Budget,
        seed: int,
        shows_siblings: bool = False,
        clock: Callable[[], float] = time.monotonic,
        seconds: ComponentClock | None = None,
        rates: Rates | None = None,
        find_stop: Callable[[], str | None] = lambda: None,
    ) -> None:
        """A tree that is only its root; no process yet. `depth` in steps; `clock` counts seconds.

        With `shows_siblings` (`policy.diversity=shown`) siblings are drawn one after the other, and the policy reads
        what those before did. `seconds` measures how long each component is at work, `rates`
        give the price of what it costs, and `find_stop` returns what else than the task's budget ends its growth, None
        while nothing does.
        """
        self._task, self._policy, self._prm, self._reward = task, policy, prm, reward
        self._depth, self._budget, self._seed, self._shows_siblings = depth, budget, seed, shows_siblings
        self._clock, self._started = clock, clock()
        self._seconds, self._rates, self._find_stop = seconds or ComponentClock(), rates or Rates(), find_stop
        self._interpreters = InterpreterTree(task, executor, self._measure_calls(call_tool))
        self._children: defaultdict[str, _Children] = defaultdict(_Children)
        self._executed: dict[str, Execution] = {}  # steps that were run before they were scored
        self.root = Node(id="0")
        self.ledger = Ledger()
        """What has been spent up to now."""
        self.stopped_by: str | None = None
        """Name of the first budget that refused an expansion, None while none has."""

    async def __aenter__(self) -> Self:
        """This tree, its clock at zero."""
        self._started = self._clock()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every process, even if the wait for that is itself cancelled."""
        closing = asyncio.ensure_future(self._interpreters.close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    async def expand(self, node: Node, n: int, *, show_tried: bool = False) -> Sequence[Node]:
        """The executed, scored children that n more candidates after `node` give, each program once.

        A program that an earlier call brought comes back as that child with its multiplicity raised. Empty at the
        depth limit, below a finished node and when a budget is spent. With `show_tried` the policy reads what the
        node's children so far did. Errors of policy, PRM and sandbox are raised as they are; what generated code does
        wrong is data in the children.
        """
        growth = self._children[node.id]
        async with growth.lock:
            if node.finished or node.depth >= self._depth or self._is_budget_spent():
                return ()
            first, growth.drawn = growth.drawn, growth.drawn + n
            if self._shows_siblings:
                candidates = await self._draw_in_turn(node, n, first, growth.children)
            else:
                candidates = await self._draw(node, n, first, growth.children.values() if show_tried else ())
            groups = group_by_program(candidates)
            new = {key: group for key, group in groups.items() if key not in growth.children}
            for key in groups.keys() - new.keys():
                child = growth.children[key]
                growth.children[key] = replace(child, multiplicity=child.multiplicity + len(groups[key]))
            children = await self._make_children(node, len(growth.children), list(new.values()))
            growth.children |= zip(new, children, strict=True)
            return tuple(growth.children[key] for key in groups)

    async def _draw(self, node: Node, n: int, first: int, tried: Iterable[Node]) -> Sequence[Candidate]:
        with self._seconds.measure("policy"):
            candidates = await self._policy.propose(
                self._task, node.path, n, first=first, seed=self._seed, tried=tuple(tried)
            )
        self.ledger = self.ledger.add(**measure_candidates(candidates))
        return candidates

    async def _draw_in_turn(
        self, node: Node, n: int, first: int, children: Mapping[ProgramKey, Node]
    ) -> Sequence[Candidate]:
        """Draw n candidates one after the other. A new program runs at once, since the next prompt shows its output."""
        shown, drawn = dict(children), list[Candidate]()
        for index in range(first, first + n):
            for candidate in await self._draw(node, 1, index, shown.values()):
                drawn.append(candidate)
                if (key := make_program_key(candidate.step)) not in shown:
                    node_id = _name_child(node, len(shown) + 1)
                    self._executed[node_id] = await self._run(node, node_id, candidate.step)
                    shown[key] = Node(node_id, node, node.depth + 1, candidate.step, self._executed[node_id])
        return drawn

    def result(self, best: Node) -> SearchResult:
        """The outcome with `best` chosen: the whole tree from the root on, by depth and place, and what it cost."""
        nodes = self._collect_subtree(self.root)
        nodes.sort(key=lambda node: (node.depth, [int(place) for place in node.id.split("-")]))
        chosen = next(node for node in nodes if node.id == best.id)
        return SearchResult(best=chosen, nodes=tuple(nodes), ledger=self.ledger, stopped_by=self.stopped_by)

    def _collect_subtree(self, node: Node) -> list[Node]:
        """The nodes from `node` down, each with the parent and the multiplicity that it has by now."""
        children = self._children[node.id].children.values()
        return [node, *(below for child in children for below in self._collect_subtree(replace(child, parent=node)))]

    def _is_budget_spent(self) -> bool:
        ledger = self._rates.apply(self.ledger)
        spent = self._budget.find_exhausted(ledger, self._clock() - self._started) or self._find_stop()
        self.stopped_by = self.stopped_by or spent
        return spent is not None

    async def _make_children(self, parent: Node, before: int, groups: Sequence[Sequence[Candidate]]) -> list[Node]:
        """A child for each program. The PRM scores them while they run, unless it reads what they print."""
        if not groups:
            return []
        ids = [_name_child(parent, before + place) for place in range(1, len(groups) + 1)]
        steps = [group[0].step for group in groups]
        runs = gather_or_cancel(self._run(parent, node_id, step) for node_id, step in zip(ids, steps, strict=True))
        if self._prm is not None and self._prm.sees_observation:
            executions = await runs
            latents = await self._score(parent, steps, executions)
        else:
            latents, executions = await gather_pair(self._score(parent, steps), runs)
        made = zip(ids, groups, executions, latents, strict=True)
        return [self._make_node(parent, node_id, group, ran, latent) for node_id, group, ran, latent in made]

    async def _score(
        self, parent: Node, steps: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Sequence[float | None]:
        if self._prm is None:
            return [None] * len(steps)
        with self._seconds.measure("prm"):
            scores = await self._prm.score(self._task, parent.path, steps, executions)
        self.ledger = self.ledger.add(prm_tokens=scores.tokens, prm_tokens_computed=scores.tokens_computed)
        return scores.values

    async def _run(self, parent: Node, node_id: str, step: Step) -> Execution:
        """What the step does, run only once."""
        if (execution := self._executed.pop(node_id, None)) is not None:
            return execution
        if step.code is None:
            return Execution(status="no_code")
        last = step.finished or parent.depth + 1 >= self._depth
        with self._seconds.measure("sandbox", is_busy=False):
            execution = await self._interpreters.run(parent, node_id, step.code, last=last)
        self._seconds.add_busy("sandbox", execution.seconds)
        self.ledger = self.ledger.add(**measure_execution(execution))
        return execution

    def _measure_calls(self, call_tool: CallTool) -> CallTool:
        async def call_measured(request: HttpRequest) -> ToolAnswer:
            with self._seconds.measure("tools"):
                return await call_tool(request)

        return call_measured

    def _make_node(
        self, parent: Node, node_id: str, group: Sequence[Candidate], execution: Execution, latent: float | None
    ) -> Node:
        first, step = group[0], group[0].step
        node = Node(
            id=node_id,
            parent=parent,
            depth=parent.depth + 1,
            step=step,
            execution=execution,
            spot=compute_spot_reward(step, execution),
            latent=latent,
            multiplicity=len(group),
            tie=draw_uniform(self._seed, self._task.id, node_id, "tie"),
            log_probability=first.log_probability,
            tokens_out=first.tokens_out,
        )
        cumulative = self._reward.cumulative(node.path)
        relative = compute_relative_reward(self._reward, node.path, cumulative)
        return replace(node, cumulative=cumulative, relative_reward=relative)


def compute_spot_reward(step: Step, execution: Execution) -> float:
    """On-the-spot reward: 1 if the code ran and its tools answered, or if the step is the final text; else 0."""
    return float(step.finished if step.code is None else execution.ran)


def _name_child(parent: Node, place: int) -> str:
    """The id of a node's child at a place, one-based."""
    return f"{parent.id}-{place}" if parent.depth else str(place)
