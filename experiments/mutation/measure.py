"""Mutation test: measure how many single faults the default tests find. Run: `python experiments/mutation/measure.py`.

Draws `--faults` single faults with seed `--seed` from the modules of `modules.yaml`, equally many of each kind, and
runs the tests against each fault in a copy of the checkout: first the tests listed for the module and, if they pass,
the whole default tier. A fault that no test finds is a survivor. Each outcome is appended to `results/outcomes.jsonl`,
so the same command resumes; `results/faults.md` is the table. `--only survivors` runs the survivors again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from queue import Queue
from typing import Any

import yaml
from faults import KINDS, Fault, find_faults

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header")
TIMEOUT = {"own": 900.0, "default": 3600.0}
"""Seconds until the tests of a tier are taken to hang; a fault that makes them hang is found."""


@dataclass(frozen=True)
class Outcome:
    """Result of the tests on one fault."""

    fault: Fault
    found_by: str | None
    """The first test that failed, `time-out` if the tests hung, None for a survivor."""
    tier: str | None
    """`own` for the tests named beside the module, `default` for the whole tier, None for a survivor."""
    seconds: float


def main() -> None:
    """Draw the faults, test those without an outcome, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=96, help="number of faults, shared evenly among the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="copies of the checkout that are tested side by side")
    parser.add_argument("--own-only", action="store_true", help="do not run the whole tier against survivors")
    parser.add_argument("--only", choices=["all", "survivors"], default="all")
    arguments = parser.parse_args()
    modules: Mapping[str, Sequence[str]] = yaml.safe_load((FOLDER / "modules.yaml").read_text())
    drawn = draw_faults(modules, arguments.faults, arguments.seed)
    known = {outcome.fault: outcome for outcome in read_outcomes()}
    todo = [fault for fault in drawn if fault not in known or (arguments.only == "survivors" and not known[fault].tier)]
    print(f"{len(drawn)} faults drawn, {len(todo)} to test", flush=True)
    for outcome in try_faults(todo, modules, arguments.workers, arguments.own_only):
        known[outcome.fault] = outcome
        append_outcome(outcome)
        verdict = f"found by {outcome.found_by}" if outcome.tier else "SURVIVED"
        print(f"{outcome.fault.module}:{outcome.fault.line} {outcome.fault.kind}: {verdict}", flush=True)
    outcomes = [known[fault] for fault in drawn]
    (RESULTS / "faults.md").write_text(
        format_table(outcomes, arguments.seed, arguments.own_only) + format_found_later()
    )
    sys.exit(any(outcome.tier is None for outcome in outcomes))


def draw_faults(modules: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Fault]:
    """Return `count` faults, equally many of each kind; modules take turns, so that long ones do not dominate."""
    generator = random.Random(seed)
    by_kind: dict[str, list[list[Fault]]] = {kind: [] for kind in KINDS}
    for module in sorted(modules):
        per_kind: dict[str, list[Fault]] = defaultdict(list)
        for fault in find_faults(module, (ROOT / module).read_text()):
            per_kind[fault.kind].append(fault)
        for kind, faults in per_kind.items():
            by_kind[kind].append(generator.sample(faults, len(faults)))
    queues = [_take_in_turns(generator.sample(lists, len(lists))) for lists in by_kind.values()]
    return list(_take_in_turns([list(queue) for queue in queues]))[:count]


def _take_in_turns(lists: Sequence[Sequence[Fault]]) -> Iterator[Fault]:
    for turn in zip_longest(*lists):
        yield from (fault for fault in turn if fault is not None)


def try_faults(
    faults: Sequence[Fault], modules: Mapping[str, Sequence[str]], workers: int, own_only: bool
) -> Iterator[Outcome]:
    """Return the outcome of each fault, tested in copies of the checkout."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copies.put(copy_checkout(Path(folder) / f"copy{number}"))

        def attempt(fault: Fault) -> Outcome:
            copy = copies.get()
            try:
                return try_fault(fault, copy, modules[fault.module], own_only)
            finally:
                copies.put(copy)

        yield from pool.map(attempt, faults)


def copy_checkout(copy: Path) -> Path:
    """Create a copy of the tracked files of the checkout."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = ROOT / name, copy / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            shutil.copy2(source, target)
    return copy


def try_fault(fault: Fault, copy: Path, own_tests: Sequence[str], own_only: bool) -> Outcome:
    """Put the fault into the copy, run the tests, and restore the file."""
    module = copy / fault.module
    source = module.read_bytes()
    start = time.monotonic()
    module.write_bytes(fault.apply(source))
    try:
        found_by, tier = run_tests(copy, ["-n", "0", *own_tests], TIMEOUT["own"]), "own"
        if found_by is None and not own_only:
            found_by, tier = run_tests(copy, [], TIMEOUT["default"]), "default"
    finally:
        module.write_bytes(source)
    return Outcome(fault, found_by, tier if found_by else None, round(time.monotonic() - start, 1))


def run_tests(copy: Path, options: Sequence[str], seconds: float) -> str | None:
    """Run tests for at most `seconds` and return the first one that fails; None if all pass."""
    checkout = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}

    environment = {key: value for key, value in os.environ.items() if key != "CODETOOL_DATA"} | checkout
    command = [sys.executable, *PYTEST, *options]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "time-out"
    if done.returncode == 0:
        return None
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else f"pytest's exit code {done.returncode}"


def read_outcomes() -> list[Outcome]:
    """Return the outcomes of earlier runs in order."""
    file = RESULTS / "outcomes.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    parsed: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [Outcome(Fault(**line.pop("fault")), **line) for line in parsed]


def append_outcome(outcome: Outcome) -> None:
    """Append the outcome to `results/outcomes.jsonl`."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "outcomes.jsonl").open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def format_table(outcomes: Sequence[Outcome], seed: int, own_only: bool) -> str:
    """Format Markdown with the counts by kind and the survivors; `own_only` tells which tests survivors have passed."""
    drawn, found = Counter(o.fault.kind for o in outcomes), Counter(o.fault.kind for o in outcomes if o.tier)
    rows = [f"| {kind} | {drawn[kind]} | {found[kind]} |" for kind in KINDS]
    survivors = [_survivor_row(outcome.fault) for outcome in outcomes if outcome.tier is None]
    total = f"| all | {len(outcomes)} | {found.total()} |"
    command = f"python experiments/mutation/measure.py --faults {len(outcomes)}{' --own-only' * own_only}"
    tests = "the tests listed for their module" if own_only else "the whole default tier"
    head = f"Single faults, seed {seed}, tested by `{command}`. Survivors have passed {tests}.\n"
    table = ["| kind | faults | found |", "| --- | --- | --- |", *rows, total]
    listing = ["| survivor | kind | before | after |", "| --- | --- | --- | --- |", *survivors] if survivors else []
    return "\n".join([head, *table, "", *listing]).rstrip() + "\n"


def format_found_later() -> str:
    """Format Markdown with the faults that survived at first and are found now; empty if there are none."""
    history: dict[Fault, list[Outcome]] = defaultdict(list)
    for outcome in read_outcomes():
        history[outcome.fault].append(outcome)
    later = [runs[-1] for runs in history.values() if runs[0].tier is None and runs[-1].tier]
    rows = [f"{_survivor_row(outcome.fault)} `{outcome.found_by}` |" for outcome in later]
    head = ["", "| survived at first | kind | before | after | found by |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n" if rows else ""


def _survivor_row(fault: Fault) -> str:
    place = f"`{fault.module}:{fault.line}`"
    return f"| {place} | {fault.kind} | `{_one_line(fault.before)}` | `{_one_line(fault.after)}` |"


def _one_line(text: str) -> str:
    short = " ".join(text.split()).replace("|", "\\|")
    return short if len(short) <= 80 else short[:79] + "…"


if __name__ == "__main__":
    main()
