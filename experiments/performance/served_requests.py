"""Benchmark: requests to `stage=serve_tools` and `stage=serve_prm` over one kept-alive connection and over new ones.

Usage: python experiments/performance/served_requests.py [--requests 300]

Every server runs in its own process. The requests cost the server almost nothing: a genre list of the replica, the
health of StableToolBench's server over an empty cache, and the health of the PRM server (`prm=smollm2`). Reported are
the median and the 99th percentile in milliseconds, as measured by a client of Python's `http.client`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
TARGET = 2.0  # milliseconds of a request over a kept-alive connection


@contextmanager
def served(words: Sequence[str], environment: dict[str, str]) -> Iterator[str]:
    """Run the stage and yield its address."""
    command = [sys.executable, str(ROOT / "run.py"), *words]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        lines = (line for line in process.stdout if line.startswith("http"))
        yield next(lines).split()[0].removesuffix("/virtual")
    finally:
        process.kill()
        process.communicate()


def timed(address: str, path: str, requests: int, *, keep: bool) -> dict[str, float]:
    """Return the milliseconds of consecutive requests, over one connection or over a new one for each."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port)
    spent = []
    for number in range(requests + 1):
        began = time.perf_counter()
        if not keep:
            connection.close()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        if number:  # the first one warms the server up
            spent.append(1000 * (time.perf_counter() - began))
    connection.close()
    return {"median_ms": round(statistics.median(spent), 2), "p99_ms": round(statistics.quantiles(spent, n=100)[-1], 2)}


def main() -> None:
    """Measure each server, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    requests = parser.parse_args().requests
    tools = ("stage=serve_tools", "serve_tools.port=0")
    genres = "/3/genre/movie/list"
    with tempfile.TemporaryDirectory() as data:
        for folder in ("tool_response_cache", "tools"):
            (Path(data) / "stabletoolbench" / folder).mkdir(parents=True)
        servers = {
            "serve_tools": ((*tools, "benchmark=tmdb_verified"), {}, genres),
            "serve_tools_ipv6": ((*tools, "benchmark=tmdb_verified", "serve_tools.host='::1'"), {}, genres),
            "serve_tools_toolbench": ((*tools, "benchmark=stabletoolbench"), {"CODETOOL_DATA": data}, "/health"),
            "serve_prm": (("stage=serve_prm", "prm=smollm2", "serve_prm.port=0"), {}, "/health"),
        }
        figures = {}
        for name, (words, environment, path) in servers.items():
            with served(words, environment) as address:
                kept = timed(address, path, requests, keep=True)
                figures[name] = {"kept_alive": kept, "new_connections": timed(address, path, requests, keep=False)}
    result = {
        "command": "python experiments/performance/served_requests.py",
        "requests": requests,
        "target_ms": TARGET,
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "served_requests.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
