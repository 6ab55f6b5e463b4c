"""A small world for searches: a policy that follows a script, a sandbox that is a dictionary, and what they were asked.

Code runs through `exec` in a copied namespace, so branches hold real state. `tool(url)` asks for a tool call; the words
`HANG` and `DIE` end the process as a time-out and a crash do.
"""

import asyncio
import copy
import io
import random
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from types import FunctionType

from codetool.costs.rates import Rates
from codetool.interfaces import CallTool, ProcessRewardModel, Reward
from codetool.model_types import Scores
from codetool.rewards.codetool import StepReward
from codetool.search.budget import Budget
from codetool.search.expansion import Expansion
from codetool.types import Candidate, Execution, HttpRequest, Node, SearchResult, Step, Task, Tool, ToolAnswer, ToolCall

Script = Callable[[tuple[str, ...], int], Step | None]
"""`(texts of the path, index of the draw)` → the step, or None where the policy has nothing to say."""

TASK = Task(id="t1", query="who?", tools=(Tool(name="GET_a", method="GET", server="http://films", path="/a"),))


def step(text: str, code: str | None = "", *, finished: bool = False) -> Step:
    """A step whose code, unless given, prints its text."""
    return Step(text=text, code=f"print({text!r})" if code == "" else code, finished=finished)


@dataclass
class ScriptedPolicy:
    script: Script
    delay: Callable[[], float] = lambda: 0.0
    asked: list[tuple[str, tuple[str, ...], int, int]] = field(default_factory=list)
    shown: list[tuple[str, ...]] = field(default_factory=list)
    """What was tried before each draw, as it was told."""

    async def propose(
        self,
        task: Task,
        path: Sequence[Node],
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        tried: Sequence[Node] = (),
    ) -> Sequence[Candidate]:
        texts = tuple(node.step.text for node in path if node.step)
        self.asked.append((task.id, texts, first, n))
        self.shown.append(tuple(node.step.text for node in tried if node.step))
        await asyncio.sleep(self.delay())
        steps = [self.script(texts, index) for index in range(first, first + n)]
        return [
            Candidate(raw=s.text, step=s, tokens_in=100 if place == 0 else 0, tokens_out=10)
            for place, s in enumerate(steps)
            if s is not None
        ]


@dataclass
class Sandbox:
    """Starts interpreters and knows which are open."""

    delay: Callable[[], float] = lambda: 0.0
    start_delay: float = 0.0
    close_delay: float = 0.0
    open: set[int] = field(default_factory=set)
    started: int = 0
    branched: int = 0

    async def start(self, task: Task, call_tool: CallTool) -> "Memory":
        self.started += 1
        memory = Memory(self, {}, call_tool)
        await asyncio.sleep(self.start_delay)
        return memory


class Memory:
    def __init__(self, sandbox: Sandbox, names: dict[str, object], call_tool: CallTool) -> None:
        self.sandbox, self.names, self.call_tool = sandbox, names, call_tool
        sandbox.open.add(id(self))

    async def branch(self) -> "Memory":
        assert id(self) in self.sandbox.open, "branched from a process that is gone"
        self.sandbox.branched += 1
        child = Memory(self.sandbox, copy.deepcopy(self.names), self.call_tool)
        await asyncio.sleep(self.sandbox.delay())
        return child

    async def run(self, code: str, *, number: int | None = None) -> Execution:
        await asyncio.sleep(self.sandbox.delay())
        if "HANG" in code or "DIE" in code:
            await self.close()
            return Execution(status="timeout" if "HANG" in code else "killed", error="ended")
        urls: list[str] = []
        printed, error = io.StringIO(), None
        try:
            with redirect_stdout(printed):
                exec(code, {"tool": urls.append}, self.names)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        calls = tuple([await self.call_tool(HttpRequest(method="GET", url=url)) for url in urls])
        failed = "tool_failed" if not all(answer.ok for answer in calls) else "ok"
        return Execution("exception" if error else failed, printed.getvalue(), error, calls=calls)

    async def close(self) -> None:
        await asyncio.sleep(self.sandbox.close_delay)
        self.sandbox.open.discard(id(self))


class TextPRM:
    """Latent rewards by the step's text; 0.5 where none is given. Reads 7 tokens a candidate."""

    def __init__(self, **values: float) -> None:
        self.values, self.asked = values, list[tuple[tuple[str, ...], tuple[str, ...]]]()

    sees_observation: bool = False

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        texts = tuple(candidate.text for candidate in candidates)
        self.asked.append((tuple(node.id for node in path), texts))
        await asyncio.sleep(0)
        return Scores(tuple(self.values.get(text, 0.5) for text in texts), tokens=7 * len(texts))


async def call_tool(request: HttpRequest) -> ToolAnswer:
    """404 for addresses that end in `missing`, else 200."""
    call = ToolCall(method=request.method, url=request.url, arguments={}, tool=TASK.tools[0])
    return ToolAnswer(call, 404 if request.url.endswith("missing") else 200, "{}", "replica")


def budget(**limits: float) -> Budget:
    names = ("tokens", "prm_tokens", "executions", "tool_calls", "seconds")
    return Budget(**(dict.fromkeys(names) | limits))


def expansion(
    policy: ScriptedPolicy | Script,
    sandbox: Sandbox | None = None,
    *,
    task: Task = TASK,
    prm: ProcessRewardModel | None = None,
    reward: Reward | None = None,
    depth: int = 5,
    limits: Budget | None = None,
    seed: int = 0,
    clock: Callable[[], float] = lambda: 0.0,
    tools: CallTool | None = None,
    shows_siblings: bool = False,
    rates: Rates | None = None,
    find_stop: Callable[[], str | None] = lambda: None,
) -> Expansion:
    return Expansion(
        task=task,
        policy=ScriptedPolicy(policy) if isinstance(policy, FunctionType) else policy,
        executor=sandbox or Sandbox(),
        prm=prm,
        reward=reward or StepReward(spot=1.0, latent=1.0, aggregate="sum"),
        call_tool=tools or call_tool,
        depth=depth,
        budget=limits or budget(),
        seed=seed,
        shows_siblings=shows_siblings,
        clock=clock,
        rates=rates,
        find_stop=find_stop,
    )


async def search(strategy: object, policy: ScriptedPolicy | Script, **world: object) -> SearchResult:
    """The result of a strategy in this world; afterwards no process may be left."""
    sandbox = world.pop("sandbox", None) or Sandbox()
    async with expansion(policy, sandbox, depth=strategy.depth, **world) as tree:
        result = tree.result(await strategy.run(tree.root, tree.expand))
    assert not sandbox.open
    return result


def fans(path: tuple[str, ...], index: int) -> Step:
    """A tree in which all draws differ and the third step finishes."""
    name = ".".join([*path[-1:], str(index)])
    return step(name, finished=len(path) == 2)


def jitter(seed: int) -> Callable[[], float]:
    """Delays up to 5 ms in no particular order."""
    generator = random.Random(seed)
    return lambda: generator.random() * 0.005
