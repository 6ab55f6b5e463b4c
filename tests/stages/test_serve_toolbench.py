"""StableToolBench's server as a process: many clients, a model that simulates, answers recorded and a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_server import ChatServer, Reply, chat, serve_in_process
from command_line import CommandLine
from warm_process import WarmProcess

CLIENTS = 64
BODY = {"category": "Data", "tool_name": "clique", "api_name": "artist", "strip": "", "toolbench_key": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with one API and its document."""
    file = tmp_path / "tool_response_cache" / "Data" / "clique_for_Data" / "artist.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({f"{{'n': {n}}}": {"error": "", "response": {"name": f"known {n}"}} for n in range(9)}))
    document = tmp_path / "tools" / "Data" / "clique.json"
    document.parent.mkdir(parents=True)
    api = {"name": "artist", "description": "", "method": "GET", "required_parameters": [], "optional_parameters": []}
    document.write_text(json.dumps({"tool_name": "Clique", "tool_description": "Music", "api_list": [api]}))
    return tmp_path


@contextmanager
def simulating() -> Iterator[ChatServer]:
    """A simulator that answers every call anew, so that an answer which was lost would be another one."""
    made = 0

    async def answer(body: dict[str, Any]) -> Reply:
        nonlocal made
        made += 1
        number = made
        await asyncio.sleep(0.02)
        return chat(json.dumps({"error": "", "response": {"name": f"made up {number}"}}))

    with serve_in_process(answer) as server:
        yield server


@contextmanager
def served(run: CommandLine, folder: Path, *words: str) -> Iterator[tuple[WarmProcess, str]]:
    """The server and its address."""
    command = (
        "stage=serve_tools",
        "benchmark=stabletoolbench",
        "serve_tools.port=0",
        f"tools.recorded_answers.folder={folder}",
    )
    process = run.start(*command, *words, environment=os.environ | {"CODETOOL_DATA": str(folder)})
    try:
        yield process, process.first_line().split()[0]
    finally:
        process.kill()
        process.communicate()


def ask(url: str, n: int) -> str | None:
    """The name in the answer; None where the server was gone."""
    try:
        reply = httpx.post(url, json=BODY | {"tool_input": {"n": n}}, timeout=30, trust_env=False).json()
    except httpx.TransportError:
        return None
    return str(reply["response"]["name"])


def test_nothing_is_lost_or_torn_when_the_server_is_killed_while_many_clients_ask(
    run: CommandLine, folder: Path
) -> None:
    recorded = folder / "recorded.jsonl"
    with simulating() as simulator:
        words = ("tools.mode=simulated", "simulator=openai", "simulator.model=m", f"tools.record_to={recorded}")
        words += (f"simulator.base_url={simulator.url}",)
        answers: dict[int, str | None] = {}
        with served(run, folder, *words) as (process, url), ThreadPoolExecutor(CLIENTS) as clients:
            futures = {n: clients.submit(ask, url, n) for n in range(240)}
            for n in range(80):
                answers[n] = futures[n].result()
            process.send_signal(signal.SIGKILL)
            answers |= {n: future.result() for n, future in futures.items()}
        told = {n: name for n, name in answers.items() if name is not None}
        assert 80 <= len(told) < 240 and len({told[n] for n in told if n >= 9}) == len(told) - min(9, len(told))
        assert all(told[n] == f"known {n}" for n in range(9))

        kept = [json.loads(line) for line in recorded.read_text().splitlines()]
        bodies = {line["arguments"]["n"]: json.loads(line["body"])["name"] for line in kept}
        assert len(bodies) == len(kept) and {n: told[n] for n in told if n >= 9}.items() <= bodies.items()

        before = len(simulator.requests)
        with served(run, folder, *words) as (_, url), ThreadPoolExecutor(CLIENTS) as clients:
            again = dict(zip(told, clients.map(lambda n: ask(url, n), told), strict=True))
        assert again == told and len(simulator.requests) == before


def test_a_cache_that_is_rewritten_while_clients_ask_is_always_whole(run: CommandLine, folder: Path) -> None:
    """As a recorder writes that replaces files: each client sees versions rise and none in pieces."""
    file = next((folder / "tool_response_cache").glob("*/*/*.json"))
    done, torn = threading.Event(), list[str]()

    def follow(url: str) -> int:
        last, seen = 0, 0
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not done.is_set():
                reply = client.post(url, json=BODY | {"tool_input": {"n": 1}}).json()
                version = reply["response"].get("version", 0) if not reply["error"] else -1
                if version < last:
                    torn.append(str(reply))
                last, seen = version, seen + 1
        return seen

    with served(run, folder) as (_, url), ThreadPoolExecutor(CLIENTS) as clients:
        following = [clients.submit(follow, url) for _ in range(CLIENTS)]
        for version in range(1, 40):
            part = file.with_suffix(".part")
            part.write_text(
                json.dumps({"{'n': 1}": {"error": "", "response": {"version": version, "x": "y" * 50_000}}})
            )
            part.replace(file)
        done.set()
        assert sum(future.result() for future in following) >= CLIENTS
    assert not torn
