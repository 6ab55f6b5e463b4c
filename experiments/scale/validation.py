"""Compare the simulated wall time of small runs with that of real ones, on the stand-in stack with fixed latencies.

Usage: python experiments/scale/validation.py [--tasks 8] [--seed 0]

One real run with one worker tells how long requests, scores and programs take as the run sees them (`component_seconds`
in its results), and the seconds of a step that none of them explains, which are taken for the host's own work. With
these the simulator predicts further runs: with 1, 2 and 4 tasks at the same time, and with 4 tasks whose policy takes
one request at a time. Wall time is that from the first to the last call of the stack, of the
fastest of several runs, since other programs may use the machine; all of them are in the result file.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from run_model import ModelServer, Node, Workload, predict_run

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.runs import journal
from codetool.stages.evaluate.run import run

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "experiments" / "performance"))
import latency  # noqa: E402

RESULTS = Path(__file__).parent / "results"
LATENCIES = {"llm": 1.0, "prm": 0.15, "tool": 0.2}
"""Seconds of each call of the stack."""
WORKLOAD = Workload(candidates=(2, 1, 1), tool_calls=(1, 1, 0), drawn=2, tokens=0)
"""A task of the stack: the candidates of the first step differ, those of the others are equal and run once."""
CHOICES = {
    "benchmark": "tmdb_verified", "search": "greedy", "policy": "openai", "prm": "remote", "reward": "codetool",
    "judge": "none", "experiment": "none",
}  # fmt: skip
RUNS: tuple[tuple[int, dict[str, int]], ...] = (
    (1, {"workers": 1}), (2, {"workers": 2}), (3, {"workers": 4}), (2, {"workers": 4, "policy_concurrency": 1}),
)  # fmt: skip
"""Number of repetitions and sizes of each run; longer ones are repeated less."""


@contextmanager
def open_stack() -> Iterator[int]:
    """Serve a new stack, whose counters are zero, and yield its port."""
    port = latency.free_port()
    process = latency.start_stack(port, **LATENCIES)
    try:
        latency.wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def measure(tasks: int, workers: int, policy_concurrency: int = 64) -> dict[str, float]:
    """Run tasks, and return the seconds from the first to the last call, and the CPU seconds of this process.

    The mean seconds of a task in `policy`, `prm` and `sandbox`, which includes its tools, are returned too.
    """
    with open_stack() as port, tempfile.TemporaryDirectory() as outputs:
        words = latency.run_command(port, outputs, "tmdb_verified")[2:]
        words = [word for word in words if not word.startswith("limit=")]
        words += [f"limit={tasks}", f"concurrency={workers}", f"policy.concurrency={policy_concurrency}"]
        [composed] = compose_all(words)
        before = resource.getrusage(resource.RUSAGE_SELF)
        with redirect_stdout(io.StringIO()):
            outcome = run(validate(composed), CHOICES, Console(file=io.StringIO()))
        after = resource.getrusage(resource.RUSAGE_SELF)
        lines = [line["component_seconds"] for line in journal.read_records(outcome.folder / "results.jsonl")]
        if outcome.failed:
            raise RuntimeError(f"{outcome.failed} tasks failed")
        counts: dict[str, Any] = latency.stats(port)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    parts = {name: mean(line[name]["wall"] for line in lines) for name in ("policy", "prm", "sandbox")}
    return {"seconds": counts["last"] - counts["first"] + LATENCIES["llm"], "cpu_seconds": cpu} | parts


def make_node(figures: dict[str, float], workers: int, policy_concurrency: int = 64) -> Node:
    """Return the node that a run of this process is, from the figures of `calibrate`."""
    return Node(
        concurrency=workers,
        sandboxes=10**6,
        cores=1,
        policy=ModelServer(latency=figures["policy"], concurrency=policy_concurrency),
        prm=ModelServer(latency=figures["prm"]),
        tool_latency=LATENCIES["tool"],
        sandbox_seconds=figures["sandbox"],
        host_seconds=figures["host"],
    )


def calibrate(measured: dict[str, float], tasks: int) -> dict[str, float]:
    """Return the seconds of a policy request, a score, a program without its tools, and the host's work for a step."""
    steps = len(WORKLOAD.candidates)
    tools = sum(WORKLOAD.tool_calls) * LATENCIES["tool"]
    figures = {name: measured[name] / steps for name in ("policy", "prm")}
    figures |= {"sandbox": max(measured["sandbox"] - tools, 0.0) / steps, "host": 0.0}
    without = predict_run(make_node(figures, 1), WORKLOAD, tasks, 0).seconds
    return figures | {"host": max(measured["seconds"] - without, 0.0) / (tasks * steps)}


def main() -> None:
    """Calibrate, measure and predict every run, and print and store both times and the error of the prediction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    measure(2, 2)  # what is imported and started once
    calibration = measure(options.tasks, 1)
    figures = calibrate(calibration, options.tasks)
    rows: list[dict[str, Any]] = []
    for repetitions, sizes in RUNS:
        found = [measure(options.tasks, **sizes) for _ in range(repetitions)]
        times = [each["seconds"] for each in found]
        predicted = predict_run(make_node(figures, **sizes), WORKLOAD, options.tasks, options.seed).seconds
        rows.append(
            {**sizes, "measured_s": round(min(times), 2), "all_measured_s": [round(each, 2) for each in times]}
            | {"predicted_s": round(predicted, 2), "error": round(predicted / min(times) - 1, 3)}
            | {"cpu_s": round(min(each["cpu_seconds"] for each in found), 2)}
        )
        print(json.dumps(rows[-1]), flush=True)
    steps = options.tasks * len(WORKLOAD.candidates)
    content = {
        "command": "python experiments/scale/validation.py",
        "tasks": options.tasks,
        "seed": options.seed,
        "latencies_s": LATENCIES,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "calibrated_s": {name: round(value, 4) for name, value in figures.items()},
        "cpu_seconds_per_step": round(min(row["cpu_s"] for row in rows) / steps, 4),
        "runs": rows,
        "largest_error": max(abs(row["error"]) for row in rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "validation.json").write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
