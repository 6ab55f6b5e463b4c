"""Benchmark: StableToolBench's server over a cache as large as the published one: start, memory and calls.

Usage: python experiments/performance/toolbench_cache.py [--apis 16500] [--answers 10] [--calls 20000] [--clients 64]

First a cache of synthetic answers is written (165,000 by default, of about 1,500 bytes each). Start-up is the time from
the command until the first call is answered. Memory is that of the server after the first thousand calls and after the
last. Calls select APIs at random, so that most files are read. A call is a `POST /virtual` of one of the concurrent
clients; every answer is compared with the one that was written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "toolbench_cache.json"
APIS_OF_A_TOOL = 5
TOOLS_OF_A_CATEGORY = 70
FIRST = 1_000  # calls after which memory is read for the first time
PORT = 18080


def main() -> None:
    """Measure, print and store the figures."""
    options = _options()
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        bytes_written = write_cache(Path(folder), options.apis, options.answers)
        _note(f"{options.apis * options.answers:,} answers in {options.apis:,} files, {bytes_written / 1e6:.0f} MB")
        starts = [_start(Path(folder)) for _ in range(options.rounds)]
        _note(f"start-up: {', '.join(f'{each:.2f}' for each in starts)} s")
        with served(Path(folder)) as process:
            found = asyncio.run(_ask(options, psutil.Process(process.pid)))
    content = {
        "command": " ".join(["python", *sys.argv]),
        "answers": options.apis * options.answers,
        "files": options.apis,
        "cache_mb": round(bytes_written / 1e6),
        "start_s": [round(each, 2) for each in starts],
        "target_start_s": 2,
        **found,
    }
    print(json.dumps(content, indent=1))
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


def write_cache(folder: Path, apis: int, answers: int) -> int:
    """Write a synthetic cache and return the size of its files in bytes."""
    written = 0
    for number in range(apis):
        category, tool, name = place(number)
        file = folder / "tool_response_cache" / category / f"{tool}_for_{category}" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {f"{{'n': {each}}}": {"error": "", "response": response(number, each)} for each in range(answers)}
        written += file.write_text(json.dumps(content))
    return written


def place(number: int) -> tuple[str, str, str]:
    """Return category, tool and name of the API with this number."""
    tool = number // APIS_OF_A_TOOL
    return f"Category_{tool // TOOLS_OF_A_CATEGORY}", f"tool_{tool}", f"api_{number}"


def response(number: int, each: int) -> dict[str, Any]:
    """Return the answer of an API to its n-th call."""
    return {"api": number, "n": each, "items": [{"id": 100 * each + i, "name": "x" * 40} for i in range(20)]}


def _start(folder: Path) -> float:
    """Start a server and return the seconds until it has answered a call."""
    began = time.perf_counter()
    with served(folder):
        return time.perf_counter() - began


@contextmanager
def served(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that answers."""
    port, cache = f"serve_tools.port={PORT}", f"tools.recorded_answers.folder={folder}"
    words = ["stage=serve_tools", "benchmark=stabletoolbench", port, cache]
    process = subprocess.Popen(
        [sys.executable, "run.py", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        while True:
            try:
                if _post(0, 0)["response"] == response(0, 0):
                    break
            except httpx.TransportError:
                time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.wait()


def _body(number: int, each: int) -> dict[str, Any]:
    category, tool, name = place(number)
    asked = {"category": category, "tool_name": tool, "api_name": name, "tool_input": {"n": each}}
    return asked | {"strip": "", "toolbench_key": ""}


def _post(number: int, each: int) -> dict[str, Any]:
    reply: dict[str, Any] = httpx.post(
        f"http://127.0.0.1:{PORT}/virtual", json=_body(number, each), trust_env=False
    ).json()
    return reply


async def _ask(options: argparse.Namespace, server: psutil.Process) -> dict[str, Any]:
    """Make the calls and return their figures."""
    calls = [(random.randrange(options.apis), random.randrange(options.answers)) for _ in range(options.calls)]
    wrong = 0

    async def client(mine: list[tuple[int, int]], asking: httpx.AsyncClient) -> None:
        nonlocal wrong
        for number, each in mine:
            reply = await asking.post("/virtual", json=_body(number, each))
            wrong += reply.json() != {"error": "", "response": response(number, each)}

    async def ask(some: list[tuple[int, int]], asking: httpx.AsyncClient) -> float:
        began = time.perf_counter()
        await asyncio.gather(*(client(some[k :: options.clients], asking) for k in range(options.clients)))
        return time.perf_counter() - began

    limits = httpx.Limits(max_connections=options.clients)
    address = f"http://127.0.0.1:{PORT}"
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60, trust_env=False) as asking:
        await ask(calls[:FIRST], asking)
        first, cpu = server.memory_info().rss, server.cpu_times().user
        seconds = await ask(calls[FIRST:], asking)
    computing = server.cpu_times().user - cpu
    counted = httpx.get(f"{address}/health", trust_env=False).json()["calls"]
    return {
        "clients": options.clients,
        "calls": len(calls),
        "files_read": len({number for number, _ in calls}),
        "wrong": wrong,
        "counted_by_the_server": counted,
        "calls_per_s": round((len(calls) - FIRST) / seconds),
        "calls_per_cpu_s_of_the_server": round((len(calls) - FIRST) / computing),
        "memory_mb": [round(first / 1e6), round(server.memory_info().rss / 1e6)],
        "kept_mib": 64,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apis", type=int, default=16_500, help="files of the cache")
    parser.add_argument("--answers", type=int, default=10, help="answers of a file")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="starts")
    return parser.parse_args()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
