"""Benchmark: `python run.py` as it is and of an older commit, side by side, and its numbers of threads and cells.

Usage: python experiments/performance/embedded_default.py [--commit bef95c2] [--rounds 3] [--limit 6] [--combinations]

Both sides run the embedded policy, with the adapter of this checkout, and the PRM on the tasks of the tour,
alternately, each time in a process of their own: in bfloat16 (the default) and in float32. The fastest run of each side
counts, by wall time and by CPU time. Candidates of both sides are compared text by text. With --combinations the
current side also runs with each number of threads, as one cell and as two at a time, and each time is divided by that
of one thread for each model. Wall times mean something on a quiet machine only, so the load average at the start of
each run is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
WORDS = (
    "benchmark.split=tour",
    "fresh=true",
    "logger=none",
    f"policy.path={ROOT / 'codetool/adapters/smollm2_policy'}",
)
VARIANTS: dict[str, tuple[list[str], list[str]]] = {
    "bfloat16": ([], []),
    "bfloat16_drafts": ([], ["policy.draft_tokens=5"]),
    "float32": (["policy.precision=float32", "prm.precision=float32"], []),
}
"""Settings of both sides, and further ones of the current side."""
THREADS = ("1", "2", "null")

Figures = dict[str, Any]


def main() -> None:
    """Run all sides, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", default="bef95c2", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side")
    parser.add_argument("--limit", type=int, default=6, help="number of tasks, up to 6")
    parser.add_argument("--variants", nargs="*", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument("--combinations", action="store_true", help="also measure numbers of threads and cells")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, check_out(options.commit, Path(folder)) as old:
        sides = {name: compare(old, Path(folder), name, options.rounds, options.limit) for name in options.variants}
        combinations = combine(Path(folder), options.limit) if options.combinations else None
    store(options.commit, sides, combinations)


def store(commit: str, sides: Figures, combinations: list[Figures] | None) -> None:
    """Print the figures and put them into the result file, beside those of other variants."""
    file = RESULTS / "embedded_default.json"
    kept: Figures = json.loads(file.read_text()) if file.is_file() else {}
    figures = {
        "command": "python experiments/performance/embedded_default.py --combinations",
        "commit": commit,
        "cores": os.cpu_count(),
        "sides": kept.get("sides", {}) | sides,
        "combinations": kept.get("combinations", []) if combinations is None else combinations,
    }
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


@contextmanager
def check_out(commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out in a folder of its own and yield it."""
    checkout = folder / "checkout"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(checkout), commit], cwd=ROOT, check=True)
    try:
        yield checkout
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(checkout)], cwd=ROOT, check=True)


def compare(old: Path, folder: Path, name: str, rounds: int, limit: int) -> Figures:
    """Run both sides alternately; return their fastest times, the ratios and how many candidates are equal."""
    both, ours = VARIANTS[name]
    sides = {"old": (old, both), "new": (ROOT, [*both, *ours])}
    runs: dict[str, list[Figures]] = {side: [] for side in sides}
    for number in range(rounds):
        for side, (checkout, words) in sides.items():
            outputs = folder / f"{name}-{side}-{number}"
            runs[side] += run_at_once(checkout, [[*words, f"limit={limit}", f"outputs={outputs}"]])
    fastest = {
        side: {kind: min(run[kind] for run in found) for kind in ("wall_s", "cpu_s")} for side, found in runs.items()
    }
    texts = {side: read_texts(folder / f"{name}-{side}-0") for side in sides}
    return {
        "tasks": limit,
        "runs": runs,
        **fastest,
        "new_to_old": {kind: round(fastest["new"][kind] / fastest["old"][kind], 2) for kind in ("wall_s", "cpu_s")},
        "candidates": len(texts["old"]),
        "equal_candidates": sum(texts["new"].get(key) == text for key, text in texts["old"].items()),
    }


def combine(folder: Path, limit: int) -> list[Figures]:
    """Return the times of each number of threads of both models, for one cell and for two cells at a time."""
    found = []
    for cells in (1, 2):
        seconds: dict[str, float] = {}
        for threads in THREADS:
            words = [f"policy.threads={threads}", f"prm.threads={threads}", f"limit={limit}"]
            commands = [[*words, f"outputs={folder / f'{cells}-{threads}-{i}'}", f"seed={i}"] for i in range(cells)]
            runs = run_at_once(ROOT, commands)
            seconds[threads] = max(run["wall_s"] for run in runs)
            found.append(
                {
                    "cells": cells,
                    "threads": threads,
                    "wall_s": seconds[threads],
                    "cpu_s": round(sum(run["cpu_s"] for run in runs), 1),
                    "load": runs[0]["load"],
                    "to_one_thread": round(seconds[threads] / seconds["1"], 2),
                }
            )
    return found


def run_at_once(checkout: Path, commands: Sequence[Sequence[str]]) -> list[Figures]:
    """Run commands of a checkout at the same time; return the seconds of wall and CPU time of each."""
    load, began = round(os.getloadavg()[0], 1), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    processes = [
        subprocess.Popen(
            [sys.executable, "run.py", *WORDS, *words], cwd=checkout, env=environment, stdout=subprocess.DEVNULL
        )
        for words in commands
    ]
    runs = []
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{checkout}: run.py ended with {process.returncode}")
        cpu_s = round(usage.ru_utime + usage.ru_stime, 1)
        runs.append({"wall_s": round(time.perf_counter() - began, 1), "cpu_s": cpu_s, "load": load})
    return runs


def read_texts(outputs: Path) -> dict[tuple[str, str, int], str]:
    """Return the candidates of a run, by task, path and index."""
    [file] = outputs.rglob("candidates.jsonl")
    records = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {(record["task_id"], str(record["path"]), record["index"]): record["text"] for record in records}


if __name__ == "__main__":
    main()
