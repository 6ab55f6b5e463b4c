"""Attacks on the memory of our servers by clients that post huge or malformed bodies.

    python experiments/performance/hostile_requests.py URL ATTACK TASKS

posts the body of an attack, in a process of its own, so that its memory does not count.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import uvicorn
from memory_meter import MIB, Attack, Meter


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
        command = [sys.executable, __file__, url, attack, str(tasks)]
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


class InstantScorer:
    """A scorer that answers at once."""

    async def score_chats(self, chats: Any, name: str, *, new: bool) -> Any:
        """Score every chat 0.5."""
        from codetool.prm.label_scorer import LabelScores

        return LabelScores(tuple(0.5 for _ in chats), 1)


def attack_prm_server(name: str) -> Attack:
    """Return the attack of stage=serve_prm by a body of `BODIES`."""

    async def attack(meter: Meter, tasks: int) -> None:
        from codetool.prm.server import PRMServer, RequestLimits

        server = PRMServer(InstantScorer(), {}, RequestLimits(256, 4096, 16_777_216, 100_000))
        await post_all(meter, server.app, "/score", tasks, name)

    return attack


async def attack_tool_server(meter: Meter, tasks: int) -> None:
    """Post to stage=serve_tools."""
    from codetool.tools.toolbench.toolbench_server import create_app

    app = create_app(None, None, {}, key="", require_key=False)  # type: ignore[arg-type]
    await post_all(meter, app, "/virtual", tasks, "tool_server")


async def chunks(size: int, piece: bytes = b"x" * 65_536) -> Any:
    """Yield so many bytes, a piece at a time."""
    for _ in range(size // len(piece)):
        yield piece


TINY_CHATS = b'{"messages": [' + b'[{"role":"user","content":""}],' * 500_000 + b"[]]}"
LONG_BODY = b"x" * 30 * MIB
BODIES: dict[str, Callable[[], Any]] = {
    "prm_announced": lambda: LONG_BODY,
    "prm_chunked": lambda: chunks(30 * MIB),
    "prm_allowed": lambda: chunks(16 * MIB),
    "prm_tiny_chats": lambda: TINY_CHATS,
    "tool_server": lambda: chunks(30 * MIB),
}


if __name__ == "__main__":
    asyncio.run(post_from_here(sys.argv[1], sys.argv[2], int(sys.argv[3])))
