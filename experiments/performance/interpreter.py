"""Benchmark of the branching interpreter: branch, step, kill, memory, and a search with a new process per step.

    python experiments/performance/interpreter.py --live 1000

Targets on 2 cores: median 4 ms for a branch and 2 ms for a trivial step, 1,000 live branches in 3 GB, and a hanging
step killed within 100 ms of its time limit. The comparison runs one tree (paths of five steps, two candidates each, one
tool call per step) twice: with branches, and as implementations without branches do it, with a new interpreter for each
candidate that runs the whole history again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codetool.execution.sandbox import Sandbox, SandboxConfig
from codetool.types import HttpRequest, Task, ToolAnswer, ToolCall

TASK = Task("performance", "", ())
DEPTH, CANDIDATES = 5, 2
RESULTS = Path(__file__).parent / "results"
STEP = """import requests
seen = requests.get('https://tool.example/{n}').json()
value_{n} = seen['n'] + {n}
print(value_{n})
"""
ALONE = """import json, re, datetime, math, collections, itertools, requests
class _Answer:
    status_code = 200
    def json(self): return {"n": 0}
def _get(url):
    print("CALL", url)
    return _Answer()
requests.get = _get
"""


class CountingTool:
    """Tool that answers immediately and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, request: HttpRequest) -> ToolAnswer:
        self.calls += 1
        return ToolAnswer(ToolCall(request.method, request.url, {}), 200, '{"n": 0}', "replica")


def milliseconds(samples: Sequence[float]) -> dict[str, float]:
    """Return the median, 95th percentile and maximum of seconds, in milliseconds."""
    ordered = sorted(samples)
    figures = (statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1])
    return dict(zip(("median", "p95", "max"), (round(1000 * figure, 3) for figure in figures), strict=True))


async def branch_and_step(sandbox: Sandbox, repeats: int) -> dict[str, Any]:
    """Return the latency of `branch()` and of the first and second step of a branch, in milliseconds."""
    root = await sandbox.start(TASK, CountingTool())
    await root.run("x = 1")
    branches: list[float] = []
    first: list[float] = []
    second: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        branch = await root.branch()
        branches.append(time.perf_counter() - start)
        for samples in (first, second):
            start = time.perf_counter()
            await branch.run("y = x + 1")
            samples.append(time.perf_counter() - start)
        await branch.close()
    await root.close()
    return {
        "branch_ms": milliseconds(branches),
        "first_step_of_a_branch_ms": milliseconds(first),
        "trivial_step_ms": milliseconds(second),
    }


async def kill(sandbox: Sandbox, limit: float, repeats: int) -> dict[str, Any]:
    """Return the time between the limit of a hanging step and the end of its process, in milliseconds."""
    root = await sandbox.start(TASK, CountingTool())
    late = []
    for code in ("while True: pass", "import time\ntime.sleep(60)") * (repeats // 2):
        branch = await root.branch()
        process = branch.process
        assert process is not None
        start = time.perf_counter()
        execution = await branch.run(code)
        while Path(f"/proc/{process.pid}").exists():
            await asyncio.sleep(0.0005)
        assert execution.status == "timeout"
        late.append(time.perf_counter() - start - limit)
    await root.close()
    return {"kill_after_limit_ms": milliseconds(late)}


async def memory(sandbox: Sandbox, live: int) -> dict[str, Any]:
    """Return the memory of the given number of live branches after one step each, in MB."""
    available = _available()
    root = await sandbox.start(TASK, CountingTool())
    start = time.perf_counter()
    branches = [await root.branch() for _ in range(live)]
    made = time.perf_counter() - start
    for branch in branches:
        assert (await branch.run("y = 1")).ran
    assert sandbox.live_branches == live + 1
    totals = {"Pss": 0, "Private_Dirty": 0, "Private_Clean": 0}
    for pid in sandbox.handle.pids():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += int(rest.split()[0])
    used = available - _available()
    for branch in (*branches, root):
        await branch.close()
    return {
        "live_branches": live,
        "pss_mb": round(totals["Pss"] * 1024 / 1e6),
        "private_mb": round((totals["Private_Dirty"] + totals["Private_Clean"]) * 1024 / 1e6),
        "available_memory_difference_mb": round(used / 1e6),
        "seconds_to_make_them": round(made, 2),
    }


async def search(sandbox: Sandbox) -> tuple[float, int]:
    """Return the seconds and tool calls of one greedy search with branches."""
    tool = CountingTool()
    start = time.perf_counter()
    node = await sandbox.start(TASK, tool)
    for depth in range(DEPTH):
        children = [await node.branch() for _ in range(CANDIDATES)]
        executions = await asyncio.gather(*(child.run(STEP.format(n=depth)) for child in children))
        assert all(execution.ran for execution in executions)
        await node.close()
        await children[1].close()
        node = children[0]
    await node.close()
    return time.perf_counter() - start, tool.calls


def search_afresh() -> tuple[float, int]:
    """Return the seconds and tool calls of the same search with a new, unconfined interpreter per candidate."""
    calls, start = 0, time.perf_counter()
    for depth in range(DEPTH):
        history = ALONE + "".join(STEP.format(n=step) for step in range(depth + 1))
        command = [sys.executable, "-c", history]
        candidates = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CANDIDATES)]
        for candidate in candidates:
            calls += candidate.communicate()[0].count("CALL")
    return time.perf_counter() - start, calls


async def compare(sandbox: Sandbox, repeats: int) -> dict[str, Any]:
    """Run the same searches in both ways alternately, and return the figures with their ratios."""
    ours, afresh = [], []
    for _ in range(repeats):
        ours.append(await search(sandbox))
        afresh.append(await asyncio.to_thread(search_afresh))
    seconds = [statistics.median(run[0] for run in runs) for runs in (ours, afresh)]
    return {
        "search_ms": round(1000 * seconds[0], 1),
        "search_afresh_ms": round(1000 * seconds[1], 1),
        "times_faster": round(seconds[1] / seconds[0], 1),
        "tool_calls": ours[0][1],
        "tool_calls_afresh": afresh[0][1],
        "times_fewer_tool_calls": round(afresh[0][1] / ours[0][1], 1),
    }


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


async def main() -> None:
    """Measure, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--live", type=int, default=1000, help="live branches for the memory figure")
    parser.add_argument("--repeats", type=int, default=300, help="samples of branch and step")
    parser.add_argument("--output", type=Path, default=RESULTS / "interpreter.json")
    options = parser.parse_args()
    limit = 0.2
    config: dict[str, Any] = {
        "isolation": "best_effort",
        "memory_mib": 256,
        "max_output_chars": 20000,
        "scratch_mib": 16,
    }
    figures: dict[str, Any] = {}
    async with SandboxConfig(**config, timeout=10.0, max_live_processes=options.live + 1).open() as sandbox:
        figures["in_force"] = dict(sandbox.in_force)
        figures |= await branch_and_step(sandbox, options.repeats)
        figures |= await compare(sandbox, 10)
        figures |= await memory(sandbox, options.live)
    async with SandboxConfig(**config, timeout=limit, max_live_processes=8).open() as sandbox:
        figures |= await kill(sandbox, limit, 40)
    record = {
        "command": f"python experiments/performance/interpreter.py --live {options.live} --repeats {options.repeats}",
        "seed": 0,
        "config": config,
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "load_average": os.getloadavg()[0],
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "figures": figures,
    }
    text = json.dumps(record, indent=2)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(main())
