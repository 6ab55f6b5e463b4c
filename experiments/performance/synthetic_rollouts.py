"""Generate process data of whole rollout trees without a policy, from reference programs with injected mistakes.

Every node has two children: the next step of the program and a mistaken variant of it. Every path is executed in the
sandbox and through the broker, so observations and failures are real. A path ends with the program or at depth 5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from codetool.benchmarks.task_generator.step_mistakes import make_mistakes
from codetool.benchmarks.tmdb_verified import FOLDER, TMDBVerified, load_rows
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.model_types import PolicyStep, ProcessExample
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.prompts.step_format import ALL_FINISHED
from codetool.prompts.step_parser import parse_step
from codetool.types import Node, Task

DEPTH = 5
ROOT = Node(id="0")


@dataclass(frozen=True)
class Way:
    """A node to create: the program steps before it, the step that it tries, and whether that step is mistaken."""

    id: str
    done: int
    slip: bool


def ways(steps: int, id: str = "", done: int = 0, depth: int = 0) -> list[list[Way]]:
    """Return the paths from the root to every leaf of the tree for a program with the given number of steps."""
    if done == steps or depth == DEPTH:
        return [[]]
    found = []
    for child, slip in ((1, False), (2, True)):
        here = Way(f"{id}-{child}".lstrip("-"), done, slip)
        found += [[here, *rest] for rest in ways(steps, here.id, done + (not slip), depth + 1)]
    return found


def examples(trees: int, steps: int = 4) -> list[list[ProcessExample]]:
    """Return the judged nodes of the trees of train tasks whose programs have `steps` steps."""
    config, grown = grow_trees(trees, steps)
    return [[_judged(config.collect.prompt, task, node) for node in nodes] for task, nodes in grown]


def policy_steps(trees: int, steps: int = 4) -> list[list[PolicyStep]]:
    """Return the same trees as steps of a policy; a path that ends with a right step succeeds in four of five cases."""
    config, grown = grow_trees(trees, steps)
    return [_list_steps(config, task, nodes, number) for number, (task, nodes) in enumerate(grown)]


def grow_trees(trees: int, steps: int) -> tuple[RunConfig, list[tuple[Task, list[Node]]]]:
    """Return the settings, and the nodes of each tree, parents before children."""
    config = validate(compose_all(["stage=collect", "benchmark=tmdb_verified"])[0])
    rows, tasks = (
        load_rows(FOLDER / "train.jsonl"),
        TMDBVerified(split="train", train=None, max_observation_chars=2000).tasks(),
    )
    long = [(row, task) for row, task in zip(rows, tasks, strict=True) if len(row["program"]) == steps]
    return config, asyncio.run(_trees(config, long[:: len(long) // trees][:trees]))


async def _trees(config: RunConfig, chosen: Sequence[tuple[Any, Task]]) -> list[tuple[Task, list[Node]]]:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(config.executor.open())
        broker = await stack.enter_async_context(config.tools.open([task for _, task in chosen]))
        found = []
        for row, task in chosen:
            nodes: dict[str, Node] = {}
            for path in ways(len(row["program"])):
                await _walk(await sandbox.start(task, broker.session(task).call), row, path, nodes)
            found.append((task, list(nodes.values())))
        return found


async def _walk(interpreter: Any, row: Mapping[str, Any], path: Sequence[Way], nodes: dict[str, Node]) -> None:
    """Run a path and add its new nodes to `nodes`, by id."""
    here = ROOT
    try:
        for k, way in enumerate(path, start=1):
            known = nodes.get(way.id)
            step = known.step if known else parse_step(_text(row, way, k, failed=k > 1 and path[k - 2].slip), k)
            assert step is not None
            ran = await interpreter.run(step.code or "")
            here = known or Node(id=way.id, parent=here, depth=k, step=step, execution=ran)
            nodes[way.id] = here
    finally:
        await interpreter.close()


def _text(row: Mapping[str, Any], way: Way, k: int, *, failed: bool) -> str:
    thought, code = row["thoughts"][way.done], row["program"][way.done]
    if way.slip:
        found = [wrong for _, wrong in make_mistakes(code)] or [code.replace("requests.get", "requests.post")]
        code = Random(f"{row['query']} {way.id}").choice(found)
    parts = [f"##Step {k}: {'That was not it. ' if failed else ''}{thought}", "Python Code:", "```python", code, "```"]
    return "\n".join(parts + [ALL_FINISHED] * (not way.slip and way.done + 1 == len(row["program"])))


def _judged(prompt: PRMPrompt, task: Task, node: Node) -> ProcessExample:
    """Return a node as process data; the step of the program has more potential."""
    assert node.step is not None and node.execution is not None and node.parent is not None
    right = node.id.endswith("1")
    return ProcessExample(
        task_id=task.id, node_id=node.id, group=node.parent.id,
        prefix=tuple(prompt.prefix_messages(task, node.parent.path)), step=node.step.text, executed=node.execution.ran,
        soft=float(right), hard=right, latent=float(right), label=right,
    )  # fmt: skip


def _list_steps(config: RunConfig, task: Task, nodes: Sequence[Node], tree: int) -> list[PolicyStep]:
    """Return the nodes as steps of the policy, with the share of successful leaves below each."""
    parents = {node.parent.id for node in nodes if node.parent is not None}
    leaves = [node for node in nodes if node.id not in parents]
    rewards = {
        leaf.id: float(Random(f"{task.id} {leaf.id}").random() < (0.8 if leaf.id.endswith("1") else 0.2))
        for leaf in leaves
    }
    prompt: Any = config.policy.prompt
    found = []
    for node in nodes:
        assert node.step is not None and node.execution is not None and node.parent is not None
        below = [reward for name, reward in rewards.items() if f"{name}-".startswith(f"{node.id}-")]
        soft = sum(below) / len(below)
        found.append(
            PolicyStep(
                task_id=task.id, node_id=node.id, group=node.parent.id, tree=tree,
                prompt=tuple(prompt.messages(task, node.parent.path)), completion=node.step.text,
                ending=prompt.stop(node.depth), executed=node.execution.ran, finished=node.step.finished,
                soft=soft, hard=soft > 0, reward=rewards.get(node.id),
            )
        )  # fmt: skip
    return found
