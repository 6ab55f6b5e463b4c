"""The commands that are killed: every stage that writes, and both launchers of multi-runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from world import World, scripted

REQUESTS = 40
"""Requests that the clients of a served stage send."""
CLIENTS = 8


@dataclass(frozen=True)
class Command:
    """A command to kill."""

    name: str
    words: Callable[[World, Path], Sequence[str]]
    """Returns the words of the command line; the path is the folder for outputs."""
    share: int
    """Trials of this command in 200."""
    ask: Callable[[str, dict[int, Any]], None] | None = None
    """Sends a served stage its requests at a URL, and stores each answer by number; None for a stage that ends."""


def _serve_tools(world: World, outputs: Path) -> Sequence[str]:
    simulation = ["tools.mode=simulated", "simulator=openai", "simulator.model=m"]
    return [
        "stage=serve_tools", "benchmark=stabletoolbench", "serve_tools.port=0", *simulation,
        f"simulator.base_url={world.simulator}", f"tools.recorded_answers.folder={world.cache}",
        f"tools.record_to={outputs / 'recorded.jsonl'}",
    ]  # fmt: skip


def _prm(world: World) -> list[str]:
    return ["prm=qwen7b", f"prm.path={world.model}", "prm.precision=float32", "prm.device=cpu", "prm.threads=1"]


def _ask_tools(url: str, answers: dict[int, Any]) -> None:
    call = {"category": "Data", "tool_name": "clique", "api_name": "artist", "strip": "", "toolbench_key": ""}
    _ask_all(lambda client, n: client.post(url, json=call | {"tool_input": {"n": n}}).json(), answers)


def _ask_prm(url: str, answers: dict[int, Any]) -> None:
    def score(client: httpx.Client, n: int) -> Any:
        chat = [{"role": "user", "content": f"Question {n}: who directed it?"}]
        return client.post(f"{url}/score", json={"messages": [chat]}).json()["scores"]

    _ask_all(score, answers)


def _ask_all(ask: Callable[[httpx.Client, int], Any], answers: dict[int, Any]) -> None:
    """Send all requests with several clients, and store the answers until the server is gone."""
    with httpx.Client(trust_env=False, timeout=30) as client, ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(partial(_ask_one, ask, client, answers), range(REQUESTS)))


def _ask_one(
    ask: Callable[[httpx.Client, int], Any], client: httpx.Client, answers: dict[int, Any], number: int
) -> None:
    try:
        answers[number] = ask(client, number)
    except httpx.TransportError:
        time.sleep(0.01)


def _judged(world: World) -> list[str]:
    return ["judge.model=j", f"judge.base_url={world.judge}"]


METHODS = "baseline_whole_program,baseline_react,baseline_dfsdt"
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command("evaluate", lambda world, _: scripted(world, "search.n=3", "limit=6"), 30),
        Command(
            "evaluate_judged",
            lambda world, _: scripted(world, "search=chain", "limit=6", "judge=stabletoolbench", *_judged(world)),
            20,
        ),
        Command("replay", lambda world, _: ["policy=replay", f"policy.source=[{world.run}]", "logger=none"], 20),
        Command("collect", lambda world, _: scripted(world, "stage=collect", "limit=4"), 25),
        Command(
            "evaluate_prm",
            lambda world, _: [
                "stage=evaluate_prm", "prm=random", f"evaluate_prm.runs=[{world.collected}]", "logger=none",
            ],
            15,
        ),
        Command(
            "judge",
            lambda world, _: ["stage=judge", f"judge_stage.folder={world.run}", "logger=none", *_judged(world)],
            20,
        ),
        Command("sweep_basic", lambda world, _: ["-m", *scripted(world, "search.n=2,3", "limit=3")], 15),
        Command("sweep_joblib", lambda world, _: ["-m", *scripted(world, "search.n=2,3", "limit=3", *JOBLIB)], 25),
        Command("baselines", lambda world, _: ["-m", f"experiment={METHODS}", *scripted(world, "limit=2")], 5),
        Command(
            "train",
            lambda world, _: [
                "stage=train", "prm=qwen7b", f"prm.model={world.model}", f"train.files=[{world.collected}]",
                "tuning.base_dtype=float32", "train.threads=1", "train.max_tokens_per_batch=2000",
                "train.val_fraction=0.2", "train.checkpoint_every_n_steps=3", "logger=none",
            ],
            10,
        ),
        Command("serve_tools", _serve_tools, 10, _ask_tools),
        Command("serve_prm", lambda world, _: ["stage=serve_prm", "serve_prm.port=0", *_prm(world)], 5, _ask_prm),
    )
}  # fmt: skip
