"""Benchmark: a thousand concurrent requests through one httpx pool and through `HttpPools`.

Usage: python experiments/performance/http_pools.py [--requests 1000]

The server, in its own process, answers each request after 0.15 s. CPU seconds are those of this process, which is the
work of the pool. The two sides alternate, three times each; medians are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from codetool.http.connection_pools import HttpPools

RESULTS = Path(__file__).parent / "results"
LATENCY = 0.15  # seconds
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def serve(port: Connection) -> None:
    """Answer every request after the latency, on a free port that is printed once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the client is done
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(LATENCY)
                writer.write(ANSWER)
        writer.close()

    async def forever() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


async def timed(get: Callable[[], Awaitable[httpx.Response]], requests: int) -> tuple[float, float]:
    """Return the wall and CPU seconds of the given number of concurrent requests."""
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(get() for _ in range(requests)))
    return time.perf_counter() - wall, time.process_time() - cpu


async def one_pool(url: str, requests: int) -> tuple[float, float]:
    """Send the requests through one client without a limit."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=120) as client:
        return await timed(lambda: client.get(url), requests)


async def many_pools(url: str, requests: int) -> tuple[float, float]:
    """Send the requests through `HttpPools`."""
    async with HttpPools(concurrency=requests, timeout=httpx.Timeout(120)) as pools:
        return await timed(lambda: pools.request("GET", url), requests)


def main() -> None:
    """Measure alternately, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    requests = parser.parse_args().requests
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(sender,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/"
    runs = [(asyncio.run(one_pool(url, requests)), asyncio.run(many_pools(url, requests))) for _ in range(3)]
    server.terminate()
    sides = {"one_pool": [run[0] for run in runs], "http_pools": [run[1] for run in runs]}
    medians = {
        side: {
            "wall_s": round(statistics.median(wall for wall, _ in both), 2),
            "cpu_s": round(statistics.median(cpu for _, cpu in both), 2),
        }
        for side, both in sides.items()
    }
    figures = {
        "command": "python experiments/performance/http_pools.py",
        "requests": requests,
        "latency_s": LATENCY,
        **medians,
        "times_less_cpu": round(medians["one_pool"]["cpu_s"] / medians["http_pools"]["cpu_s"], 1),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "http_pools.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
