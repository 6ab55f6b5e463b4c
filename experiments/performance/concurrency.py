"""Benchmark: run thousands of tasks concurrently and report seconds, memory, open files, errors and tool calls.

Usage: python experiments/performance/concurrency.py [--benchmark tmdb|tmdb_verified] [--tasks 2000]

The tasks of the benchmark are repeated under new ids, started together and searched greedily with n = 2, with far fewer
live branches than tasks. Models and tools are the fast stand-ins of `stand_in_stack.py`, so the time is our own.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from latency import BENCHMARKS, RESULTS, available_benchmark, free_port, run_command, start_stack, stats, wait_for
from rich.console import Console

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.evaluation.error_taxonomy import is_internal
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.run_folder import open_folder

LATENCIES = (0.2, 0.05, 0.05)  # seconds a call: LLM, PRM, tool


def main() -> None:
    """Run, print and store the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--benchmark", choices=[*BENCHMARKS], default=None)
    arguments.add_argument("--tasks", type=int, default=2000)
    options = arguments.parse_args()
    benchmark = options.benchmark or available_benchmark()
    port = free_port()
    stack = start_stack(port, *LATENCIES)
    try:
        wait_for(port)
        figures = measured(port, options.tasks, benchmark)
    finally:
        stack.terminate()
        stack.wait()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "concurrency.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def measured(port: int, count: int, benchmark: str) -> dict[str, Any]:
    """Return the figures of one run with the given number of tasks."""
    with tempfile.TemporaryDirectory() as folder, open_folder(Path(folder) / "run") as run:
        words = [*run_command(port, folder, benchmark)[2:], f"concurrency={count}"]
        config = validate(compose_all(words)[0])
        tasks = config.benchmark.tasks()
        copies = [replace(tasks[i % len(tasks)], id=f"copy-{i}") for i in range(count)]
        began = time.perf_counter()
        evaluate(config, run, copies, Console(stderr=True))
        seconds = time.perf_counter() - began
        results = list(run.done.values())
    counts = stats(port)
    return {
        "command": "python experiments/performance/concurrency.py",
        "tasks_in_flight": count,
        "live_branches_max": config.settings["executor"]["max_live_processes"],
        "seconds": round(seconds, 1),
        "errors": sum(map(is_internal, results)),
        "finished": sum(result["finished"] for result in results),
        "host_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "files_left_open": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "tool_calls_counted_here": sum(result["ledger"]["tool_calls"] for result in results),
        "tool_calls_counted_there": counts["api"],
    }


if __name__ == "__main__":
    main()
