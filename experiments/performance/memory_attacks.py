"""Measurement: peak memory of the host process, or of one of our servers, under hostile input.

Usage: python experiments/performance/memory_attacks.py [--tasks 256] [--only NAME ...] [--out FILE]

Each attack runs in a process of its own. Its memory is read when everything is imported and opened, and its peak at the
end, both from /proc (`VmRSS`, `VmHWM`). Attacks on the host are made by `--tasks` tasks at the same time. Hostile
servers run in another process, so that their memory does not count. `--only` names attacks of the table below.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gzip
import json
import logging
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

MIB = 2**20
RESULTS = Path(__file__).parent / "results" / "memory_attacks.json"
FILM = "https://api.themoviedb.org/3/movie/155"


def read_memory(field: str) -> float:
    """A field of this process's status in MiB: `VmRSS` or `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


class Meter:
    """Memory before the attack; `start` is called when everything is open."""

    def __init__(self) -> None:
        self.before = 0.0
        self.outcome = ""

    def start(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self.before = read_memory("VmRSS")


# --- hostile steps -----------------------------------------------------------------------------------------------


async def run_steps(meter: Meter, tasks: int, code: str, **tools: Any) -> None:
    """Run the step in as many tasks as asked for at the same time, with the sandbox and the broker of a run."""
    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate
    from codetool.evaluation.result_records import _encode_execution
    from codetool.runs.journal import encode_record

    overrides = [f"tools.{name}={value}" for name, value in tools.items()]
    [composed] = compose_all(["executor.timeout=60", *overrides])
    config = validate(composed)
    task = config.benchmark.tasks()[0]
    async with config.executor.open() as sandbox, config.tools.open([task]) as broker:
        meter.start()
        statuses: dict[str, int] = {}

        async def run_one() -> int:
            interpreter = await sandbox.start(task, broker.session(task).call)
            execution = await interpreter.run(code)
            statuses[execution.status] = statuses.get(execution.status, 0) + 1
            line = encode_record(_encode_execution(execution))
            executions.append(execution)  # as the search tree keeps it
            interpreters.append(interpreter)
            return len(line)

        executions: list[Any] = []
        interpreters: list[Any] = []
        sizes = await asyncio.gather(*(run_one() for _ in range(tasks)))
        meter.outcome = f"{statuses}, {sum(sizes) / MIB:.0f} MiB of journal"


def step(code: str, **tools: Any) -> Callable[[Meter, int], Coroutine[Any, Any, None]]:
    return lambda meter, tasks: run_steps(meter, tasks, f"import requests\n{code}", **tools)


PREPARED = (
    "from requests.adapters import HTTPAdapter\n"
    f"p, send = requests.Request('GET', {FILM!r}).prepare(), HTTPAdapter().send  # prepared once: it is slow\n"
)
LONG_URLS = f"{PREPARED}p.url = 'https://evil.example/' + 'a' * 220_000\nfor i in range(300): send(p)"
LONG_BODIES = f"{PREPARED}for i in range(200): p.body = 'a' * 60_000 + str(i); send(p)"
MANY_ARGUMENTS = f"{PREPARED}for i in range(200): p.url = {FILM!r} + '?x=' + 'a' * 7_000 + str(i); send(p)"
ENDLESS_CALLS = f"{PREPARED}while True: send(p)"
HALF_FRAMES = (
    "import os, socket\n"
    "for n in range(3, 60):\n"
    "    try:\n"
    "        s = socket.socket(fileno=os.dup(n))\n"
    "        s.settimeout(1)\n"
    "        s.send(b'\\x00\\x05\\x00\\x00' + b'x' * 300_000)\n"
    "    except BaseException: pass\n"
    "import time; time.sleep(3)"
)
LONG_OUTPUT = "for i in range(300): print('x' * 1_000_000)"


# --- hostile servers ---------------------------------------------------------------------------------------------


def serve_hostile(port: int) -> None:
    """Serve endless, huge and compressed answers; runs in a process of its own."""
    chunk = b"x" * 65_536

    def stream(size: int, head: bytes = b"", tail: bytes = b"") -> StreamingResponse:
        async def chunks() -> Any:
            yield head
            for _ in range(size // len(chunk)):
                yield chunk
            yield tail

        return StreamingResponse(chunks(), media_type="application/json")

    async def huge_chat(request: Request) -> Response:
        return stream(50 * MIB, b'{"choices": [{"message": {"content": "', b'"}}]}')

    async def large_chat(request: Request) -> Response:
        return stream(7 * MIB, b'{"choices": [{"message": {"content": "', b'"}}]}')

    async def packed_chat(request: Request) -> Response:
        return Response(packed, headers={"content-encoding": "gzip"}, media_type="application/json")

    async def large_answer(request: Request) -> Response:
        return stream(9 * MIB, b'"', b'"')

    async def allowed_answer(request: Request) -> Response:
        return stream(7 * MIB, b'{"a": "', b'"}')

    async def huge_scores(request: Request) -> Response:
        return stream(50 * MIB, b'{"scores": [', b"]}")

    packed = gzip.compress(b" " * (300 * MIB), 1)
    routes = [
        Route("/huge/chat/completions", huge_chat, methods=["POST"]),
        Route("/large/chat/completions", large_chat, methods=["POST"]),
        Route("/packed/chat/completions", packed_chat, methods=["POST"]),
        Route("/scores/generate", huge_scores, methods=["POST"]),
        Route("/large/{n}", large_answer),
        Route("/allowed/{n}", allowed_answer),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="error")


class HostileServer:
    """`serve_hostile` in another process."""

    def __enter__(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
        for _ in range(400):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def chat(path: str) -> Callable[[Meter, int], Coroutine[Any, Any, None]]:
    async def attack(meter: Meter, tasks: int) -> None:
        from codetool.http.chat_client import ChatClient
        from codetool.http.endpoint import Endpoint

        with HostileServer() as url:
            server = Endpoint(
                base_url=f"{url}/{path}",
                model="m",
                key_env=None,
                concurrency=tasks,
                timeout=60,
                retries=0,
                backoff=0.01,
            )
            async with ChatClient(server) as client:
                meter.start()
                messages = [{"role": "user", "content": "x"}]
                requests = (
                    client.complete(messages, n=1, temperature=0, top_p=1, max_tokens=9, seed=n) for n in range(tasks)
                )
                meter.outcome = describe(await asyncio.gather(*requests, return_exceptions=True))

    return attack


async def attack_scores(meter: Meter, tasks: int) -> None:
    from codetool.http.bounded_body import MAX_SCORES_BYTES
    from codetool.http.connection_pools import HttpPools

    with HostileServer() as url:
        pools = HttpPools(concurrency=tasks, timeout=httpx.Timeout(60), max_bytes=MAX_SCORES_BYTES)
        async with pools as http:
            meter.start()
            requests = (http.request("POST", f"{url}/scores/generate", {}) for _ in range(tasks))
            meter.outcome = describe(await asyncio.gather(*requests, return_exceptions=True))


def live(path: str) -> Callable[[Meter, int], Coroutine[Any, Any, None]]:
    """Two live answers in each task, all of them different, which are recorded if they are short enough."""

    async def attack(meter: Meter, tasks: int) -> None:
        with HostileServer() as url, tempfile.TemporaryDirectory() as folder:
            code = f"import os, requests\nfor _ in range(2): requests.get('{url}/{path}/' + os.urandom(8).hex()).text"
            host = url.removeprefix("http://")
            settings = {"mode": "live", "allowed_hosts": f"[{host!r}]", "record_to": f"{folder}/r.jsonl"}
            await run_steps(meter, tasks, code, **settings)
            meter.outcome += f", {Path(folder, 'r.jsonl').stat().st_size / MIB:.0f} MiB recorded"

    return attack


def describe(outcomes: list[Any]) -> str:
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    reason = f": {type(failures[0]).__name__} …{str(failures[0])[-90:]}" if failures else ""
    return f"{len(outcomes) - len(failures)} answered, {len(failures)} failed{reason}"


# --- hostile clients of our servers ------------------------------------------------------------------------------


async def post_all(meter: Meter, app: Any, path: str, tasks: int, attack: str) -> None:
    """Serve the app here, and let another process post the body of the attack as many times at once."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        meter.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{path}"
        command = [sys.executable, __file__, "--post", url, "--attack", attack, "--tasks", str(tasks)]
        client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        meter.outcome = (await client.communicate())[0].decode().strip()
        server.should_exit = True
        await serving


async def post_from_here(url: str, attack: str, tasks: int) -> None:
    """Post the body of the attack as many times at once, and print how often each status came back."""
    counts = dict[str, int]()

    async def post(client: httpx.AsyncClient) -> None:
        try:
            answer = str((await client.post(url, content=BODIES[attack]())).status_code)
        except httpx.HTTPError as error:
            answer = type(error).__name__
        counts[answer] = counts.get(answer, 0) + 1

    limits = httpx.Limits(max_connections=tasks)
    async with httpx.AsyncClient(trust_env=False, timeout=120, limits=limits) as client:
        await asyncio.gather(*(post(client) for _ in range(tasks)))
    print(counts)


class Judge:
    """A scorer that answers at once."""

    async def score_chats(self, chats: Any, name: str, *, new: bool) -> Any:
        from codetool.prm.label_scorer import LabelScores

        return LabelScores(tuple(0.5 for _ in chats), 1)


def prm(name: str) -> Callable[[Meter, int], Coroutine[Any, Any, None]]:
    async def attack(meter: Meter, tasks: int) -> None:
        from codetool.prm.server import PRMServer, RequestLimits

        server = PRMServer(Judge(), {}, RequestLimits(256, 4096, 16_777_216, 100_000))
        await post_all(meter, server.app, "/score", tasks, name)

    return attack


async def chunks(size: int, piece: bytes = b"x" * 65_536) -> Any:
    for _ in range(size // len(piece)):
        yield piece


async def attack_tool_server(meter: Meter, tasks: int) -> None:
    from codetool.tools.toolbench.toolbench_server import create_app

    app = create_app(None, None, {}, key="", require_key=False)  # type: ignore[arg-type]
    await post_all(meter, app, "/virtual", tasks, "tool_server")


# --- hostile files and answers -----------------------------------------------------------------------------------


async def attack_journal(meter: Meter, tasks: int) -> None:
    from codetool.errors import ConfigError
    from codetool.runs import journal

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.jsonl"
        with file.open("wb") as stream:
            stream.write(b'{"task_id": "')
            stream.writelines([b"x" * MIB] * 1024)
        meter.start()
        try:
            list(journal.read_records(file))
        except ConfigError as error:
            meter.outcome = f"…{str(error)[len(str(file)) : 100 + len(str(file))]}"


async def attack_documents(meter: Meter, tasks: int) -> None:
    from codetool.benchmarks.openapi import parse_document, parse_tools
    from codetool.errors import ConfigError

    paths = ",".join(f'"/{n}": {{"get": {{}}}}' for n in range(1_000_000))
    text = f'{{"openapi": "3.0.0", "servers": [{{"url": "https://a.test"}}], "paths": {{{paths}}}}}'
    del paths
    meter.start()
    lines = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    for each in (text, f"a0: &a0 [x]\n{lines}"):
        try:
            parse_tools(parse_document(each))
        except ConfigError as error:
            meter.outcome += f"{str(error)[:70]}… "


async def attack_checker(meter: Meter, tasks: int) -> None:
    from codetool.benchmarks.answer_checker.checker import matches
    from codetool.types import Answer

    meter.start()
    start = time.monotonic()
    for text in ("1 " * 10**6, "[" + "1," * 10**6 + "1]", "9" * 10**6, "1e999999999"):
        for kind, value in (("list", [1, 2, 3]), ("number", 5), ("some_of", ["a", "b"])):
            matches(Answer(kind, value), text)  # type: ignore[arg-type]
    meter.outcome = f"12 checks in {time.monotonic() - start:.2f} s"


TINY_CHATS = b'{"messages": [' + b'[{"role":"user","content":""}],' * 500_000 + b"[]]}"
LONG_BODY = b"x" * 30 * MIB
BODIES: dict[str, Callable[[], Any]] = {
    "prm_announced": lambda: LONG_BODY,
    "prm_chunked": lambda: chunks(30 * MIB),
    "prm_allowed": lambda: chunks(16 * MIB),
    "prm_tiny_chats": lambda: TINY_CHATS,
    "tool_server": lambda: chunks(30 * MIB),
}
ATTACKS: dict[str, tuple[str, Callable[[Meter, int], Coroutine[Any, Any, None]]]] = {
    "long_urls": ("300 calls with a URL of 220 kB", step(LONG_URLS)),
    "long_bodies": ("200 calls with a body of 60 kB", step(LONG_BODIES)),
    "arguments": ("200 calls with arguments of 7 kB", step(MANY_ARGUMENTS)),
    "endless_calls": ("calls without end", step(ENDLESS_CALLS)),
    "half_frames": ("300 kB of a message of 320 kB", step(HALF_FRAMES)),
    "long_output": ("300 MB printed", step(LONG_OUTPUT)),
    "large_live": ("2 live answers of 9 MiB", live("large")),
    "allowed_live": ("2 live answers of 7 MiB", live("allowed")),
    "huge_chat": ("chat server: replies of 50 MiB", chat("huge")),
    "large_chat": ("chat server: replies of 7 MiB", chat("large")),
    "packed_chat": ("chat server: 300 MiB in 300 kB of gzip", chat("packed")),
    "huge_scores": ("PRM server: replies of 50 MiB", attack_scores),
    "prm_announced": ("serve_prm: 30 MiB with Content-Length", prm("prm_announced")),
    "prm_chunked": ("serve_prm: 30 MiB in chunks", prm("prm_chunked")),
    "prm_allowed": ("serve_prm: 16 MiB in chunks, no JSON", prm("prm_allowed")),
    "prm_tiny_chats": ("serve_prm: 500,000 empty chats", prm("prm_tiny_chats")),
    "tool_server": ("serve_tools: 30 MiB in chunks", attack_tool_server),
    "journal": ("a journal's line of 1 GiB", attack_journal),
    "documents": ("OpenAPI: 10^6 operations, 10^11 values by anchors", attack_documents),
    "checker": ("answers of 10^6 items and digits", attack_checker),
}


def run_attack(name: str, tasks: int) -> None:
    """Run one attack in this process and print its figures."""
    logging.disable(logging.WARNING)
    meter, start = Meter(), time.monotonic()
    asyncio.run(ATTACKS[name][1](meter, tasks))
    peak = read_memory("VmHWM")
    figures = {"before": meter.before, "peak": peak, "added": peak - meter.before, "seconds": time.monotonic() - start}
    print(json.dumps({**{key: round(value, 1) for key, value in figures.items()}, "outcome": meter.outcome}))
    sys.stdout.flush()
    os._exit(0)  # threads of the attack may be left


def main() -> None:
    """Run the attacks one after the other, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=256)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--post", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.post:
        asyncio.run(post_from_here(arguments.post, arguments.attack, arguments.tasks))
    elif arguments.serve:
        serve_hostile(arguments.serve)
    elif arguments.attack:
        run_attack(arguments.attack, arguments.tasks)
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    rows: dict[str, Any] = {}
    print(f"{'attack':50} {'before':>7} {'peak':>7} {'added':>7} {'s':>6}  outcome")
    for name in arguments.only or ATTACKS:
        command = [sys.executable, __file__, "--attack", name, "--tasks", str(arguments.tasks)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        lines = run.stdout.strip().splitlines()
        row = json.loads(lines[-1]) if lines else {"outcome": run.stderr.strip()[-200:]}
        rows[name] = {"attack": ATTACKS[name][0], **row}
        numbers = " ".join(f"{row.get(key, float('nan')):7.0f}" for key in ("before", "peak", "added"))
        print(f"{ATTACKS[name][0]:50} {numbers} {row.get('seconds', 0):6.1f}  {row['outcome'][:150]}", flush=True)
    content = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", "experiments/performance/memory_attacks.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "tasks": arguments.tasks,
        "unit": "MiB",
        "attacks": rows,
    }
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
