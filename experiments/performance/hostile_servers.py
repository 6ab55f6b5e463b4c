"""Attacks on the memory of the host process by servers that it asks: endless, huge and compressed answers.

    python experiments/performance/hostile_servers.py PORT

serves them, in a process of its own, so that their memory does not count.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from hostile_steps import run_steps
from memory_meter import MIB, Attack, Meter, describe_outcomes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

CHUNK = b"x" * 65_536


def stream(size: int, head: bytes, tail: bytes) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that answers with so many bytes in chunks, between a head and a tail."""

    async def answer(request: Request) -> Response:
        async def chunks() -> Any:
            yield head
            for _ in range(size // len(CHUNK)):
                yield CHUNK
            yield tail

        return StreamingResponse(chunks(), media_type="application/json")

    return answer


def serve_hostile(port: int) -> None:
    """Serve endless, huge and compressed answers."""
    packed = gzip.compress(b" " * (300 * MIB), 1)

    async def packed_chat(request: Request) -> Response:
        return Response(packed, headers={"content-encoding": "gzip"}, media_type="application/json")

    chat_head, chat_tail = b'{"choices": [{"message": {"content": "', b'"}}]}'
    routes = [
        Route("/huge/chat/completions", stream(50 * MIB, chat_head, chat_tail), methods=["POST"]),
        Route("/large/chat/completions", stream(7 * MIB, chat_head, chat_tail), methods=["POST"]),
        Route("/packed/chat/completions", packed_chat, methods=["POST"]),
        Route("/scores/generate", stream(50 * MIB, b'{"scores": [', b"]}"), methods=["POST"]),
        Route("/live/large/{n}", stream(9 * MIB, b'"', b'"')),
        Route("/live/allowed/{n}", stream(7 * MIB, b'{"a": "', b'"}')),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_level="error")


class HostileServer:
    """`serve_hostile` in another process."""

    def __enter__(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = subprocess.Popen([sys.executable, __file__, str(port)])
        for _ in range(400):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.1)
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def attack_by_chat(path: str) -> Attack:
    """Return the attack of a chat server by the answers below the path."""

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
                meter.outcome = describe_outcomes(await asyncio.gather(*requests, return_exceptions=True))

    return attack


async def attack_scores(meter: Meter, tasks: int) -> None:
    """Ask a PRM server for scores that are huge."""
    from codetool.http.bounded_body import MAX_SCORES_BYTES
    from codetool.http.connection_pools import HttpPools

    with HostileServer() as url:
        pools = HttpPools(concurrency=tasks, timeout=httpx.Timeout(60), max_bytes=MAX_SCORES_BYTES)
        async with pools as http:
            meter.start()
            requests = (http.request("POST", f"{url}/scores/generate", {}) for _ in range(tasks))
            meter.outcome = describe_outcomes(await asyncio.gather(*requests, return_exceptions=True))


def attack_by_live_answers(path: str) -> Attack:
    """Two live answers in each task, all of them different, which are recorded if they are short enough."""

    async def attack(meter: Meter, tasks: int) -> None:
        with HostileServer() as url, tempfile.TemporaryDirectory() as folder:
            address = f"'{url}/live/{path}/' + os.urandom(8).hex()"
            code = f"import os, requests\nfor _ in range(2): requests.get({address}).text"
            host = url.removeprefix("http://")
            settings = {"mode": "live", "allowed_hosts": f"[{host!r}]", "record_to": f"{folder}/r.jsonl"}
            await run_steps(meter, tasks, code, **settings)
            meter.outcome += f", {Path(folder, 'r.jsonl').stat().st_size / MIB:.0f} MiB recorded"

    return attack


if __name__ == "__main__":
    serve_hostile(int(sys.argv[1]))
