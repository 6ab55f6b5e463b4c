"""Test the answer checker: run every reference program intact and damaged, and count the accepted answers.

Usage: python experiments/task_generator/checker_mutation_test.py --benchmark tmdb [--split test] [--seeds 5]

Programs run in the sandbox and through the broker. A checker that accepts a damaged program is too lenient; one that
rejects an intact program is too strict. A damaged program that is right by chance counts as accepted, and is listed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.answers.final_answer import MAX_ANSWER_CHARS
from codetool.benchmarks import reference_answers, tmdb_verified
from codetool.benchmarks.task_generator.corruptions import Program, corrupt_program
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.interfaces import Executor
from codetool.tools.broker import Broker
from codetool.types import Task

RESULTS = Path(__file__).parent / "results"
AT_ONCE = 16
FIRST_SEED = 100
"""Below it are the seeds with which the generator of `tmdb_verified` has refused tasks."""
WHOLE = "whole"


@dataclass(frozen=True)
class Case:
    """A program to run; `kind` names its damage, or is `whole`."""

    task: Task
    seed: int
    kind: str
    program: Program


def main() -> None:
    """Run the programs, print and store the counts."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--benchmark", choices=("tmdb", "tmdb_verified"), default="tmdb")
    arguments.add_argument("--split", help="of tmdb_verified")
    arguments.add_argument("--seeds", type=int, default=5, help="how often the places are drawn")
    options = arguments.parse_args()
    words = [f"benchmark={options.benchmark}"] + ([f"benchmark.split={options.split}"] if options.split else [])
    config = validate(compose_all(words)[0])
    whole = programs(options.benchmark)
    tasks = [task for task in config.benchmark.tasks() if task.id in whole]
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    cases = [case for seed in seeds for task in tasks for case in _cases(task, whole[task.id], seed)]
    right = asyncio.run(solved(config, cases))
    figures = {
        "command": shlex.join(["python", "experiments/task_generator/checker_mutation_test.py", *sys.argv[1:]]),
        "benchmark_checksum": config.benchmark.checksum(),
        "replica_checksum": config.tools.replica.checksum(),
        "seeds": list(seeds),
        "tasks": len(tasks),
        **counted(cases, right, whole),
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{'_'.join(filter(None, (options.benchmark, options.split)))}.json"
    file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


def programs(benchmark: str) -> Mapping[str, Program]:
    """Return the reference program of each task by task id."""
    if benchmark == "tmdb":
        return {name: known.program for name, known in reference_answers.load_references().items() if known.answer}
    return {row["id"]: row["program"] for row in tmdb_verified.load_all_rows()}


async def solved(config: RunConfig, cases: Sequence[Case]) -> list[bool]:
    """Return whether each case ends with the right answer, judged as in a run."""
    places = asyncio.Semaphore(AT_ONCE)
    tasks = list({case.task.id: case.task for case in cases}.values())
    async with config.executor.open() as sandbox, config.tools.open(tasks) as broker:

        async def one(case: Case) -> bool:
            async with places:
                return config.benchmark.check(case.task, await _answer(sandbox, broker, case)) is True

        return list(await asyncio.gather(*map(one, cases)))


async def _answer(sandbox: Executor, broker: Broker, case: Case) -> str | None:
    interpreter = await sandbox.start(case.task, broker.session(case.task).call)
    try:
        executions = [await interpreter.run(step) for step in case.program]
    finally:
        await interpreter.close()
    return executions[-1].observation.strip()[:MAX_ANSWER_CHARS] if executions else None


def counted(cases: Sequence[Case], right: Sequence[bool], whole: Mapping[str, Program]) -> dict[str, Any]:
    """Return the numbers of each kind and of accepted ones, and the damaged programs that were accepted."""
    judged = list(zip(cases, right, strict=True))
    damaged = [(case, hit) for case, hit in judged if case.kind != WHOLE]
    passed = {(case.task.id, case.kind, _changed(case.program, whole[case.task.id])) for case, hit in damaged if hit}
    return {
        WHOLE: _tally([hit for case, hit in judged if case.kind == WHOLE]),
        "wrong": sorted({case.task.id for case, hit in judged if case.kind == WHOLE and not hit}),
        "damaged": _tally([hit for _, hit in damaged]),
        "by_seed": [_tally([hit for case, hit in damaged if case.seed == seed]) for seed in _values(damaged, "seed")],
        "by_kind": {
            kind: _tally([hit for case, hit in damaged if case.kind == kind]) for kind in _values(damaged, "kind")
        },
        "by_answer": {
            kind: _tally([hit for case, hit in damaged if case.task.answer and case.task.answer.type == kind])
            for kind in sorted({case.task.answer.type for case, _ in damaged if case.task.answer})
        },
        "right_though_damaged": [{"task": name, "kind": kind, "step": step} for name, kind, step in sorted(passed)],
    }


def _tally(hits: Sequence[bool]) -> dict[str, float]:
    return {"programs": len(hits), "right": sum(hits), "share": round(sum(hits) / len(hits), 4)}


def _values(damaged: Sequence[tuple[Case, bool]], name: str) -> list[Any]:
    return list(dict.fromkeys(getattr(case, name) for case, _ in damaged))


def _cases(task: Task, program: Program, seed: int) -> list[Case]:
    ranked = task.answer is not None and task.answer.type != "some_of"
    whole = [(WHOLE, program)] if seed == FIRST_SEED else []
    return [Case(task, seed, kind, other) for kind, other in [*whole, *corrupt_program(program, seed, ranked=ranked)]]


def _changed(program: Program, whole: Program) -> str:
    """Return the damaged step; empty if steps are missing."""
    return next((step for step, other in zip(program, whole, strict=False) if step != other), "")


if __name__ == "__main__":
    main()
