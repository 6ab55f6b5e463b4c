"""Benchmark: how wall time, CPU time and memory of a run grow with the number of tasks, all of them started together.

Usage: python experiments/performance/concurrency.py [--tasks 100,1000] [--concurrency N] [--fast] [--out FILE]

The tasks of the benchmark are repeated under new ids and searched greedily with n = 2. Models and tools are those of
`stand_in_stack.py`, which wait 1.0, 0.15 and 0.2 seconds (LLM, PRM, tool; with `--fast` a twentieth). Each number of
tasks runs in a process of its own, which does what `python run.py` does. Its wall time is compared with the critical
path: the sum of the latencies of one task, which no number of cores shortens.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from latency import (
    BENCHMARKS,
    LATENCIES,
    RESULTS,
    available_benchmark,
    free_port,
    run_command,
    start_stack,
    stats,
    wait_for,
)
from memory_meter import read_memory
from rich.console import Console
from stand_in_stack import STEPS

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.evaluation.error_taxonomy import is_internal
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.run_folder import RunFolder, open_folder

SAMPLES = 5
"""Memory is read after each fifth of the tasks."""
FAST = {name: seconds / 20 for name, seconds in LATENCIES.items()}
"""Seconds a call with --fast."""


@dataclass(frozen=True)
class Load:
    """What a run has to do."""

    tasks: int
    concurrency: int
    latencies: Mapping[str, float]
    """Seconds of a call of `llm`, `prm` and `tool`."""
    words: tuple[str, ...] = ()
    """Further options of the run."""
    steps: int = STEPS
    """Steps of a path."""
    tools: int | None = None
    """Tools that a task offers at most; None is all that the benchmark offers."""

    @property
    def critical_path(self) -> float:
        """Seconds that the calls of one task take, one after the other."""
        return self.steps * (self.latencies["llm"] + self.latencies["prm"]) + (self.steps - 1) * self.latencies["tool"]


def main() -> None:
    """Run, print and store the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--benchmark", choices=[*BENCHMARKS], default=None)
    arguments.add_argument("--tasks", type=_read_counts, default=[100, 1000], help="numbers of tasks: 100,1000")
    arguments.add_argument("--concurrency", type=int, default=None, help="tasks in flight; all of them unless given")
    arguments.add_argument("--fast", action="store_true", help="short latencies, to see what the host costs")
    arguments.add_argument("--out", type=Path, default=RESULTS / "concurrency.json")
    options = arguments.parse_args()
    benchmark = options.benchmark or available_benchmark()
    latencies = FAST if options.fast else LATENCIES
    runs = []
    for count in options.tasks:
        runs.append(measure_apart(Load(count, options.concurrency or count, latencies), benchmark))
        print(json.dumps(runs[-1]))
    figures = {"command": shlex.join(["python", "experiments/performance/concurrency.py", *sys.argv[1:]])}
    save({**figures, "cores": os.cpu_count(), "latencies_s": latencies, "runs": runs}, options.out)


def save(figures: Mapping[str, Any], file: Path) -> None:
    """Store figures as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure_apart(load: Load, benchmark: str) -> dict[str, Any]:
    """Return the figures of one run in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, load, benchmark).result()


def measure(load: Load, benchmark: str) -> dict[str, Any]:
    """Return the figures of one run."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _open_stack(load) as port,
        open_folder(Path(folder) / "run") as run,
    ):
        words = [*run_command(port, folder, benchmark)[2:], f"concurrency={load.concurrency}", *load.words]
        config = validate(compose_all(words)[0])
        tasks = [replace(task, tools=task.tools[: load.tools]) for task in config.benchmark.tasks()]
        copies = [replace(tasks[i % len(tasks)], id=f"copy-{i}") for i in range(load.tasks)]
        before = _read_cpu_seconds()
        with _sample_memory(run, load.tasks) as memory:
            evaluate(config, run, copies, Console(stderr=True, quiet=True))
        host, sandboxes = (late - early for early, late in zip(before, _read_cpu_seconds(), strict=True))
        results, counts = list(run.done.values()), stats(port)
    seconds, executions = counts["last"] - counts["first"], sum(each["ledger"]["executions"] for each in results)
    return {
        "tasks": load.tasks,
        "concurrency": load.concurrency,
        "live_branches_max": config.settings["executor"]["max_live_processes"],
        "first_to_last_call_s": round(seconds, 2),
        "critical_path_s": round(load.critical_path, 3),
        "times_critical_path": round(seconds / load.critical_path, 2),
        "executions": executions,
        "host_cpu_s": round(host, 2),
        "sandbox_cpu_s": round(sandboxes, 2),
        "host_cpu_ms_per_step": round(1000 * host / executions, 2),
        "memory_mb_by_tasks": memory,
        "llm_in_flight_max": counts["max_inflight"],
        "errors": sum(map(is_internal, results)),
        "finished": sum(result["finished"] for result in results),
        "files_left_open": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "tool_calls_counted_here": sum(result["ledger"]["tool_calls"] for result in results),
        "tool_calls_counted_there": counts["api"],
    }


@contextmanager
def _open_stack(load: Load) -> Iterator[int]:
    """Run the stack; yields its port."""
    port = free_port()
    stack = start_stack(port, load.steps, **load.latencies)
    try:
        wait_for(port)
        yield port
    finally:
        stack.terminate()
        stack.wait()


@contextmanager
def _sample_memory(run: RunFolder, count: int) -> Iterator[dict[str, int]]:
    """Yield the MiB of this process by the number of finished tasks, as they finish."""
    memory: dict[str, int] = {}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.05) and len(memory) < SAMPLES:
            if len(run.done) >= (len(memory) + 1) * count / SAMPLES:
                memory[str(len(run.done))] = round(read_memory("VmRSS"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()


def _read_cpu_seconds() -> tuple[float, float]:
    """Return the CPU seconds of this process, and of those that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, children = (usage.ru_utime + usage.ru_stime for usage in usages)
    return own, children


def _read_counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
