"""Benchmark: with which power do the costs of a run grow in tasks, n, width, depth, offered tools and live sandboxes?

Usage: python experiments/performance/growth.py [--axes tasks n] [--out FILE]

Each axis is a few runs against `stand_in_stack.py` that differ in one number. The cost is the CPU time of the run and
its sandboxes, less that of a run of a single task, which is mostly the start. The exponent is fitted by least squares
of the logarithms: 1 is linear. CPU time is used, since other programs spoil the wall time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from concurrency import FAST, Load, measure_apart, save
from latency import RESULTS, available_benchmark

TASKS = 60
"""Tasks of each run, unless they are the axis."""


def make_load(axis: str, value: int) -> Load:
    """Return the run of one point of an axis."""
    match axis:
        case "tasks":
            return Load(value, value, FAST)
        case "n":
            return Load(TASKS, TASKS, FAST, (f"search.n={value}",))
        case "width":
            return Load(TASKS, TASKS, FAST, ("search=beam", f"search.width={value}", "search.n=4"))
        case "depth":
            return Load(TASKS, TASKS, FAST, (f"search.depth={value}", "search.n=2"), steps=value)
        case "tools":
            return Load(TASKS, TASKS, FAST, tools=value)
        case "sandboxes":
            return Load(4 * TASKS, 4 * TASKS, FAST, (f"executor.max_live_processes={value}",))
    raise ValueError(f"unknown axis {axis!r}")


AXES = {
    "tasks": (60, 120, 240, 480),
    "n": (2, 4, 8, 16),
    "width": (1, 2, 4, 8),
    "depth": (3, 6, 12, 24),
    "tools": (6, 12, 24, 48),
    "sandboxes": (16, 64, 256, 512),
}


def main() -> None:
    """Run the axes, print and store the exponents."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    arguments.add_argument("--out", type=Path, default=RESULTS / "growth.json")
    options = arguments.parse_args()
    benchmark = available_benchmark()
    start = _find_cpu_seconds(measure_apart(Load(1, 1, FAST), benchmark))
    axes = {axis: _measure_axis(axis, start, benchmark) for axis in options.axes}
    command = shlex.join(["python", "experiments/performance/growth.py", *sys.argv[1:]])
    save({"command": command, "cores": os.cpu_count(), "start_cpu_s": start, "axes": axes}, options.out)


def fit_exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """Return the power of a value with which a cost grows, by least squares of the logarithms."""
    slope, _ = numpy.polyfit([math.log(value) for value in values], [math.log(cost) for cost in costs], 1)
    return float(slope)


def _measure_axis(axis: str, start: float, benchmark: str) -> dict[str, Any]:
    """Return the costs of the runs of an axis, and their exponent."""
    runs = [measure_apart(make_load(axis, value), benchmark) for value in AXES[axis]]
    costs = [round(_find_cpu_seconds(run) - start, 2) for run in runs]
    executions = [run["executions"] for run in runs]
    assert not any(run["errors"] for run in runs), axis
    exponent = round(fit_exponent(AXES[axis], costs), 2)
    found = {"values": AXES[axis], "cpu_s": costs, "executions": executions, "exponent": exponent}
    print(axis, json.dumps(found))
    return found


def _find_cpu_seconds(run: dict[str, Any]) -> float:
    return float(run["host_cpu_s"] + run["sandbox_cpu_s"])


if __name__ == "__main__":
    main()
