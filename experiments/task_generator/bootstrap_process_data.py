"""Write right and wrong steps of reference programs as process data to pretrain a small PRM.

Usage: python experiments/task_generator/bootstrap_process_data.py --rows FILE --out FILE [--prm-prompt compact]

At every position of a program the right step is paired with wrong ones: a fitting step of another task's program, a
mistake, another entry of a list, or an early end. Each candidate is executed, the reference program continues after it,
and the checked answer determines its value. The labels are those of a tree whose policy knows the solution except for
one step. No model is used. `--rows` takes a file of generate.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from codetool.answers.final_answer import extract_path_answer
from codetool.benchmarks.task_generator.step_mistakes import make_mistakes
from codetool.benchmarks.tmdb_verified import FOLDER, load_rows
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.errors import CodeToolError
from codetool.interfaces import Executor
from codetool.model_types import ProcessExample
from codetool.process_data import examples
from codetool.process_data.labels import label_steps
from codetool.process_data.rollouts import Rollout
from codetool.prompts.step_format import ALL_FINISHED
from codetool.prompts.step_parser import parse_step
from codetool.tools.broker import Broker
from codetool.types import Node, Task

Row = Mapping[str, Any]
AT_ONCE = 8
FOREIGN, SLIPS = 2, 1
"""Steps of other programs and slips that stand beside each right step at most."""
ENTRY = re.compile(r"\[(\d+)\](?=\n|$)")
SEARCHED = re.compile(r'"query": "([^"]*)"')


@dataclass(frozen=True)
class Draft:
    """A step to write."""

    thought: str
    code: str
    last: bool

    @property
    def subject(self) -> str:
        """Subject of the step: the operation that finds it, or its name."""
        found = re.search(r"api\.themoviedb\.org/3(/\w+)", self.code) if "import requests" in self.code else None
        return found[1] if found else next(iter(re.findall(r"{(\w+)\['id'\]}", self.code)), "")

    def text(self, k: int) -> str:
        """The step as the policy should write it."""
        lines = [f"##Step {k}: {self.thought}", "Python Code:", "```python", self.code, "```"]
        return "\n".join(lines + [ALL_FINISHED] * self.last)


@dataclass(frozen=True)
class Grower:
    """Builds the trees of tasks."""

    config: RunConfig
    sandbox: Executor
    broker: Broker
    seed: int
    others: Mapping[tuple[bool, str], Sequence[Draft]]
    """Steps of all programs, by whether they are a program's first and what they begin with."""

    async def examples(self, task: Task, drafts: Sequence[Draft]) -> list[ProcessExample]:
        """Return the judged steps of a task. Below a right step nothing is damaged, so its value is 1."""
        nodes: dict[str, Node] = {"0": Node(id="0")}
        outcomes: dict[str, bool] = {}
        await self._grow(task, "1", drafts, nodes, outcomes)
        right = dict(nodes), dict(outcomes)
        chance = Random(f"{self.seed} {task.id}")
        found = []
        for place in range(len(drafts)):
            nodes, outcomes = dict(right[0]), dict(right[1])
            for number, wrong in enumerate(self._wrong(drafts, place, chance), start=2):
                name = "-".join(["1"] * place + [str(number)])
                path = [*drafts[:place], wrong, *([] if wrong.last else drafts[place + 1 :])]
                await self._grow(task, name, path, nodes, outcomes)
            rollout = Rollout(task, tuple(nodes.values()), outcomes)
            steps = label_steps(rollout, self.config.collect)
            siblings = [step for step in steps if step.node.parent is nodes["-".join(["1"] * place) or "0"]]
            found += examples.make_process_examples(task, siblings, self.config.collect.prompt)
        return found

    def _wrong(self, drafts: Sequence[Draft], place: int, chance: Random) -> Iterator[Draft]:
        """Return steps that could be written in place of a right one."""
        right = drafts[place]
        seen = {right.text(1)}
        if not right.last:
            yield replace(right, last=True)
        entry = ENTRY.sub(lambda hit: f"[{chance.choice(_others(int(hit[1])))}]", right.code, count=1)
        foreign = [_about(right, each) for each in self.others[place == 0, right.subject]]
        slipped = [replace(right, code=code) for _, code in make_mistakes(right.code)]
        some = [
            *chance.sample(foreign, min(4 * FOREIGN, len(foreign))),
            *chance.sample(slipped, min(SLIPS, len(slipped))),
            *([replace(right, code=entry)] if right.code != entry and chance.random() < 0.5 else []),
        ]
        left = {"foreign": FOREIGN}
        for step in some:
            kind = "own" if step.thought == right.thought else "foreign"
            if step.text(1) not in seen and left.get(kind, 1) > 0:
                seen.add(step.text(1))
                left[kind] = left.get(kind, 2) - 1 if kind == "foreign" else 1
                yield step

    async def _grow(
        self, task: Task, name: str, path: Sequence[Draft], nodes: dict[str, Node], outcomes: dict[str, bool]
    ) -> None:
        """Run a path and add its new steps; `name` is the name of the first new one."""
        interpreter = await self.sandbox.start(task, self.broker.session(task).call)
        names = name.split("-")
        names += ["1"] * (len(path) - len(names))
        node = nodes["0"]
        try:
            for k, draft in enumerate(path, start=1):
                step = parse_step(draft.text(k), k)
                execution = await interpreter.run(step.code or "")
                here = "-".join(names[:k])
                if here not in nodes:
                    spot = float(execution.ran)
                    nodes[here] = Node(id=here, parent=node, depth=k, step=step, execution=execution, spot=spot)
                node = nodes[here]
        finally:
            await interpreter.close()
        outcomes[node.id] = bool(self.config.benchmark.check(task, extract_path_answer(node)))


def main() -> None:
    """Build the trees, write the examples and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=FOLDER / "train.jsonl", help="tasks; default: the stored train")
    parser.add_argument("--out", type=Path, required=True, help="file for the examples")
    parser.add_argument("--prm-prompt", default="compact", help="a file of conf/prm_prompt: what the PRM is to read")
    parser.add_argument("--seed", type=int, default=0, help="draws the wrong steps")
    options = parser.parse_args()
    words = [f"benchmark.train={options.rows}", f"prm_prompt@collect.prompt={options.prm_prompt}"]
    config = validate(compose_all(["stage=collect", "benchmark=tmdb_verified", "benchmark.split=train", *words])[0])
    tasks = config.benchmark.tasks()
    found = asyncio.run(judged(config, load_rows(options.rows), tasks, options.seed))
    examples.save_examples(options.out, found)
    worth = sum(each.soft for each in found) / len(found)
    ran = sum(each.executed for each in found) / len(found)
    counts = {"tasks": len({each.task_id for each in found}), "examples": len(found)}
    print(f"{options.out}: {json.dumps(counts)}; ran {ran:.2f}, mean worth {worth:.2f}")


async def judged(config: RunConfig, rows: Sequence[Row], tasks: Sequence[Task], seed: int) -> list[ProcessExample]:
    """Return the judged steps of all tasks, in order."""
    programs = [_drafts(row) for row in rows]
    others = defaultdict[tuple[bool, str], list[Draft]](list)
    for drafts in programs:
        for place, draft in enumerate(drafts):
            others[place == 0, draft.subject].append(draft)
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(config.executor.open())
        broker = await stack.enter_async_context(config.tools.open(tasks))
        grower = Grower(config, sandbox, broker, seed, others)

        async def one(task: Task, drafts: Sequence[Draft]) -> list[ProcessExample]:
            async with places:
                return await grower.examples(task, drafts)

        found = await asyncio.gather(*(one(task, drafts) for task, drafts in zip(tasks, programs, strict=True)))
    return [example for some in found for example in some]


def _drafts(row: Row) -> list[Draft]:
    count = len(row["program"])
    steps = zip(row["thoughts"], row["program"], strict=True)
    return [Draft(thought, code, place == count - 1) for place, (thought, code) in enumerate(steps)]


def _about(right: Draft, other: Draft) -> Draft:
    """Return a step of another program that asks for the same things as the right one."""
    ours, theirs = SEARCHED.search(right.code), SEARCHED.search(other.code)
    if ours is None or theirs is None:
        return other
    return Draft(other.thought.replace(theirs[1], ours[1]), other.code.replace(theirs[1], ours[1]), other.last)


def _others(entry: int) -> list[int]:
    """Return the entries of a list that could be confused with this one."""
    return [each for each in (0, entry - 2, entry - 1, entry + 1, entry + 2) if each >= 0 and each != entry]


if __name__ == "__main__":
    try:
        main()
    except CodeToolError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped. No file has been changed.")
