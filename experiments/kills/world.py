"""The servers that killed commands use, and the inputs that they read: made once, the same for every trial."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from chat_server import Reply, chat, serve_in_process  # type: ignore[import-not-found]  # noqa: E402
from scripted_policy import ScriptedPolicy  # type: ignore[import-not-found]  # noqa: E402

LATENCY = 0.05
"""Seconds of each answer of a model."""


@dataclass(frozen=True)
class World:
    """Addresses and folders that the commands name."""

    policy: str
    judge: str
    simulator: str
    inputs: Path

    @property
    def run(self) -> Path:
        """A finished run folder."""
        return next((self.inputs / "outputs" / "evaluate").iterdir())

    @property
    def collected(self) -> Path:
        """A folder of stage=collect."""
        return next((self.inputs / "outputs" / "collect").iterdir())

    @property
    def model(self) -> Path:
        """A tiny language model with random weights."""
        return self.inputs / "model"

    @property
    def cache(self) -> Path:
        """StableToolBench's cache with a single API."""
        return self.inputs / "cache"


def scripted(world: World, *words: str) -> list[str]:
    """Return the words of a search with the scripted policy and without a PRM."""
    server = ["policy=openai", "policy.model=m", f"policy.base_url={world.policy}"]
    return [*server, "prm=none", "benchmark.split=dev", "logger=none", *words]


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """Start the servers and make the inputs in the folder; the servers end with the context."""
    with ExitStack() as stack:
        policy = stack.enter_context(serve_in_process(ScriptedPolicy(LATENCY)))
        judge = stack.enter_context(serve_in_process(_judge))
        simulator = stack.enter_context(serve_in_process(_simulate))
        world = World(policy.url, judge.url, simulator.url, folder)
        _make_inputs(world)
        yield world


async def _judge(body: dict[str, Any]) -> Reply:
    await asyncio.sleep(LATENCY)
    return chat("Solved" if _draw(body["messages"]) % 2 else "Unsolved")


async def _simulate(body: dict[str, Any]) -> Reply:
    await asyncio.sleep(LATENCY)
    return chat(json.dumps({"error": "", "response": {"name": f"name {_draw(body['messages'])}"}}))


def _draw(content: Any) -> int:
    """Return a number that depends only on the content."""
    return hashlib.sha256(json.dumps(content).encode()).digest()[0]


def _make_inputs(world: World) -> None:
    from tiny_models import save  # type: ignore[import-not-found]

    outputs = f"outputs={world.inputs / 'outputs'}"
    run_command([outputs, *scripted(world, "search.n=3", "limit=8")])
    run_command([outputs, *scripted(world, "stage=collect", "limit=8")])
    save("qwen2", world.model)
    file = world.cache / "tool_response_cache" / "Data" / "clique_for_Data" / "artist.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({f"{{'n': {n}}}": {"error": "", "response": {"name": f"known {n}"}} for n in range(9)}))
    api = {"name": "artist", "description": "", "method": "GET", "required_parameters": [], "optional_parameters": []}
    document = world.cache / "tools" / "Data" / "clique.json"
    document.parent.mkdir(parents=True)
    document.write_text(json.dumps({"tool_name": "Clique", "tool_description": "Music", "api_list": [api]}))


def run_command(words: Sequence[str]) -> None:
    """Run `python run.py WORDS` to its end. Raises RuntimeError with what it said if it fails."""
    done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
