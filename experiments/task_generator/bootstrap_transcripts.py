"""Write reference programs as transcripts to fine-tune a policy; some contain a mistake and its correction.

Usage: python experiments/task_generator/bootstrap_transcripts.py --out transcripts.jsonl [--rows FILE] [--mistakes 0.3]

The output has one line per task: `{"task_id", "template", "messages"}`, with the messages that the policy sees at
inference under `prompt=compact` (or `--prompt`). Every step is executed in the sandbox and through the broker. An
assistant message has a `weight`: 1 is trained on; 0 is a step that fails, and the right step after it says so. `--rows`
takes a file of generate.py. A mistaken step never contains [All Finished], since that would end the path.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from codetool.benchmarks.task_generator.step_mistakes import make_mistakes
from codetool.benchmarks.tmdb_verified import FOLDER, TMDBVerified, load_rows
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.errors import CodeToolError, MissingError
from codetool.interfaces import Executor
from codetool.prompts.step_format import ALL_FINISHED
from codetool.prompts.step_parser import parse_step
from codetool.tools.broker import Broker
from codetool.types import Node, Task

Row = Mapping[str, Any]
Transcript = dict[str, Any]
AT_ONCE = 8
MISTAKEN = range(2, 5)
"""Steps of the programs that a mistake is put into: with it they are five at most, as deep as a search goes."""
TRIES = 8
"""Mistakes that are tried in a program until one fails."""
REASONS = (
    (r"KeyError: '(\w+)'", "there is no field {0}"),
    (r"KeyError: \d+", "the answer is no list"),
    (r"IndexError|StopIteration", "nothing was found"),
    (r"NameError: name '(\w+)'", "{0} is not defined"),
    (r"TypeError|AttributeError", "the answer has another form"),
    (r"answered (\d+)", "the tool answered {0}"),
    (r"", "the tool did not answer"),
)
"""What is found in an error, and how the step that puts it right says so; the first that is found counts."""


@dataclass(frozen=True)
class Draft:
    """A step to write: its thought, its code, and whether it is right."""

    thought: str
    code: str
    right: bool = True


@dataclass(frozen=True)
class Runner:
    """Executes drafts as a search would."""

    sandbox: Executor
    broker: Broker

    async def path(self, task: Task, drafts: Sequence[Draft]) -> tuple[Node, ...] | None:
        """Return the executed steps; None if a right step fails or a mistaken one does not."""
        interpreter = await self.sandbox.start(task, self.broker.session(task).call)
        node = Node(id="0")
        try:
            for k, draft in enumerate(drafts, start=1):
                error = node.execution.error if node.execution and not node.execution.ran else None
                step = parse_step(_text(draft, k, error, last=k == len(drafts)), k)
                execution = await interpreter.run(step.code or "")
                if execution.ran != draft.right:
                    return None
                node = Node(id=f"{node.id}-1", parent=node, depth=k, step=step, execution=execution)
        finally:
            await interpreter.close()
        return node.path


def main() -> None:
    """Run the programs, write the transcripts and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=FOLDER / "train.jsonl", help="tasks; default: the stored train")
    parser.add_argument("--out", type=Path, required=True, help="file for the transcripts")
    parser.add_argument("--mistakes", type=float, default=0.3, help="share of transcripts with a mistake put right")
    parser.add_argument("--seed", type=int, default=0, help="draws which have one, and which mistake it is")
    parser.add_argument("--prompt", default="compact", help="a file of conf/policy_prompt")
    options = parser.parse_args()
    if not 0 <= options.mistakes <= 1:
        parser.error(f"--mistakes {options.mistakes}: give a share from 0 to 1")
    found = transcripts(options.rows, options.mistakes, options.seed, options.prompt)
    options.out.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in found), encoding="utf-8")
    print(f"{options.out}: {json.dumps(counted(found))}")


def transcripts(rows: Path, mistakes: float, seed: int, prompt: str = "compact") -> list[Transcript]:
    """Return the transcripts of the tasks in a file, in its order, deterministic for a seed.

    Fewer than the share `mistakes` contain a mistake if there are not enough programs with one that fails.
    """
    config = validate(compose_all(["benchmark=tmdb_verified", f"policy_prompt@policy.prompt={prompt}"])[0])
    tasks = TMDBVerified(
        split="train", train=rows, max_observation_chars=1
    ).tasks()  # tasks do not depend on `observation`
    return asyncio.run(_transcripts(config, load_rows(rows), tasks, mistakes, seed))


def counted(found: Sequence[Transcript]) -> dict[str, Any]:
    """Return the numbers of transcripts, templates, steps and mistakes."""
    turns = [[message for message in each["messages"] if message["role"] == "assistant"] for each in found]
    return {
        "transcripts": len(found),
        "templates": len({each["template"] for each in found}),
        "steps": sum(map(len, turns)),
        "mistakes": sum(turn["weight"] == 0 for each in turns for turn in each),
        "by_steps": dict(sorted(Counter(map(len, turns)).items())),
        "mean_characters": round(sum(len(m["content"]) for each in found for m in each["messages"]) / len(found)),
    }


async def _transcripts(
    config: RunConfig, rows: Sequence[Row], tasks: Sequence[Task], mistakes: float, seed: int
) -> list[Transcript]:
    found: dict[int, Transcript] = {}
    order = [index for index, row in enumerate(rows) if len(row["program"]) in MISTAKEN]
    Random(f"{seed} order").shuffle(order)
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(config.executor.open())
        runner = Runner(sandbox, await stack.enter_async_context(config.tools.open(tasks)))

        async def add(index: int, *, mistaken: bool) -> None:
            async with places:
                path = await _path(runner, rows[index], tasks[index], seed, mistaken=mistaken)
            if path is not None:
                found[index] = _transcript(config, tasks[index], path)

        while order and (missing := round(mistakes * len(rows)) - len(found)) > 0:
            chosen, order = order[:missing], order[missing:]
            await asyncio.gather(*(add(index, mistaken=True) for index in chosen))
        await asyncio.gather(*(add(index, mistaken=False) for index in range(len(rows)) if index not in found))
    return [found[index] for index in range(len(rows))]


async def _path(runner: Runner, row: Row, task: Task, seed: int, *, mistaken: bool) -> tuple[Node, ...] | None:
    """Return the executed steps of a row's program; with a mistake, None if no mistake fails."""
    drafts = [Draft(*pair) for pair in zip(row["thoughts"], row["program"], strict=True)]
    whole = await runner.path(task, drafts)
    if whole is None:
        raise MissingError(f"task {task.id}: its program fails here. Write the file again with generate.py --train")
    if not mistaken:
        return whole
    chance = Random(f"{seed} {task.id}")
    for wrong in _mistaken(drafts, chance)[:TRIES]:
        path = await runner.path(task, wrong)
        if path and _answer(path) == _answer(whole):
            return path
    return None


def _answer(path: Sequence[Node]) -> str | None:
    return path[-1].execution.observation if path[-1].execution else None


def _mistaken(drafts: Sequence[Draft], chance: Random) -> list[list[Draft]]:
    """Yield the drafts with one mistaken step inserted, in random order: each kind of mistake, then each again."""
    kinds: dict[str, list[list[Draft]]] = {}
    for place, draft in enumerate(drafts):
        for kind, code in make_mistakes(draft.code):
            wrong = replace(draft, code=code, right=False)
            kinds.setdefault(kind, []).append([*drafts[:place], wrong, *drafts[place:]])
    shuffled = [chance.sample(some, len(some)) for some in kinds.values()]
    ranked = [(rank, chance.random(), each) for some in shuffled for rank, each in enumerate(some)]
    return [each for _, _, each in sorted(ranked, key=lambda entry: entry[:2])]


def _text(draft: Draft, k: int, error: str | None, *, last: bool) -> str:
    """Return the step as the policy should write it, without closing marker; `error` is that of the previous step."""
    thought = draft.thought if error is None else f"Step {k - 1} failed, {_reason(error)}. {draft.thought}"
    parts = [f"##Step {k}: {thought}", "Python Code:", "```python", draft.code, "```"]
    return "\n".join(parts + [ALL_FINISHED] * last)


def _reason(error: str) -> str:
    found = ((re.search(pattern, error), words) for pattern, words in REASONS)
    return next(words.format(*hit.groups()) for hit, words in found if hit)


def _transcript(config: RunConfig, task: Task, path: Sequence[Node]) -> Transcript:
    """Return the line of a path: the messages up to its last step, and that step."""
    chat = config.policy.prompt.messages(task, path)[:-1]  # nobody reads what the last step printed
    messages: list[dict[str, Any]] = [dict(message) for message in chat]
    turns = [message for message in messages if message["role"] == "assistant"]
    for turn, node in zip(turns, path, strict=True):
        turn["weight"] = int(node.execution is not None and node.execution.ran)
    return {"task_id": task.id, "template": task.template, "messages": messages}


if __name__ == "__main__":
    try:
        main()
    except CodeToolError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped. No file has been changed.")
