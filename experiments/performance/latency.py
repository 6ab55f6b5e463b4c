"""Benchmark: a greedy search with n = 2 over 100 film queries at fixed latencies: LLM 1.0 s, PRM 0.15 s, tool 0.2 s.

Usage: python experiments/performance/latency.py [--benchmark tmdb|tmdb_verified]

Models and tools are served by `stand_in_stack.py`, which counts the calls and records the times of the first and last.
At these latencies the reference implementation needs 6.6 s per task of RestBench, one task at a time. Without
`--benchmark` the queries are those of RestBench if its files are present or can be downloaded, else 100 of
`tmdb_verified`, which are part of this project; the stack generates the same three steps for all of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.errors import CodeToolError

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
STACK = Path(__file__).parent / "stand_in_stack.py"
BENCHMARKS = {
    "tmdb": ("benchmark=tmdb",),
    "tmdb_verified": ("benchmark=tmdb_verified", "benchmark.split=test"),
}
"""What chooses the queries."""
LATENCIES = {"llm": 1.0, "prm": 0.15, "tool": 0.2}  # seconds a call
REFERENCE_SECONDS = 660.0  # measured for the reference implementation on the same stack and tasks


def main() -> None:
    """Print and store the seconds from first to last call, calls by kind, and the maximum of concurrent LLM calls."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--benchmark", choices=[*BENCHMARKS], default=None)
    arguments.add_argument("--out", type=Path, default=RESULTS / "latency.json")
    options = arguments.parse_args()
    benchmark = options.benchmark or available_benchmark()
    port = free_port()
    stack = start_stack(port, **LATENCIES)
    try:
        wait_for(port)
        with tempfile.TemporaryDirectory() as outputs:
            command = run_command(port, outputs, benchmark)
            started = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True)
            wall = time.perf_counter() - started
        counts = stats(port)
    finally:
        stack.terminate()
        stack.wait()
    report(counts, wall, command, options.out)


def start_stack(port: int, steps: int = 3, /, *, llm: float, prm: float, tool: float) -> subprocess.Popen[bytes]:
    """Start the stand-in stack in its own process; the times are seconds per call, `steps` those of the program."""
    times = ["--llm", str(llm), "--prm", str(prm), "--tool", str(tool), "--steps", str(steps)]
    return subprocess.Popen([sys.executable, str(STACK), "--port", str(port), *times])


def available_benchmark() -> str:
    """Return `tmdb` if the files of RestBench are available, else `tmdb_verified`, with the reason."""
    try:
        validate(compose_all(["benchmark=tmdb"])[0]).benchmark.checksum()
    except CodeToolError as error:
        print(f"RestBench is not here, so the queries are those of tmdb_verified: {error}", file=sys.stderr)
        return "tmdb_verified"
    return "tmdb"


def run_command(port: int, outputs: str, benchmark: str = "tmdb") -> list[str]:
    """Return the command under test. Answers are not recorded, so that every tool call reaches the stack."""
    server = f"http://127.0.0.1:{port}"
    return [
        sys.executable, "run.py", *BENCHMARKS[benchmark], "limit=100", "search=greedy", "search.n=2", "logger=none",
        "policy=openai", f"policy.base_url={server}/v1", "policy.model=m",
        "prm=remote", "prm.model=mock", f"prm.base_url={server}",
        "tools.mode=live", f"tools.allowed_hosts=[127.0.0.1:{port}]", "tools.record_to=null", f"outputs={outputs}",
    ]  # fmt: skip


def report(counts: dict[str, Any], wall: float, command: list[str], out: Path) -> None:
    """Print the figures and store them as JSON."""
    seconds = counts["last"] - counts["first"]
    figures = {
        "command": "python experiments/performance/latency.py",
        "under_test": shlex.join(["python", *command[1:-1]]),
        "latencies_s": LATENCIES,
        "first_to_last_call_s": round(seconds, 2),
        "whole_command_s": round(wall, 2),
        "reference_s": REFERENCE_SECONDS,
        "ratio": round(REFERENCE_SECONDS / seconds, 1),
        "calls": {kind: counts[kind] for kind in ("llm", "llm_choices", "prm", "api")},
        "llm_in_flight_max": counts["max_inflight"],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until the stack answers. Raises URLError after 20 seconds."""
    for attempt in range(200):
        try:
            stats(port)
        except URLError:
            if attempt == 199:
                raise
            time.sleep(0.1)
        else:
            return


def stats(port: int) -> dict[str, Any]:
    """Return the counters of the stack."""
    with urlopen(f"http://127.0.0.1:{port}/stats") as answer:
        counts: dict[str, Any] = json.load(answer)
    return counts


if __name__ == "__main__":
    main()
