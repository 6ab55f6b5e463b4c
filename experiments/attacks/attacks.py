"""The attacks that once succeeded: reproduces each on this checkout or on an older one.

Usage: python experiments/attacks/attacks.py [--only A5 ...] [--checkout FOLDER] [--out FILE]
       python experiments/attacks/attacks.py --table

Each attack runs in a process of its own and prints one line: what happened, and whether that is right. `--checkout`
names the root of another checkout, whose code is attacked. `--out` stores the outcomes; `--table` writes
`results/attacks.md` from `results/before.json` and `results/after.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from inspect import iscoroutine
from pathlib import Path
from typing import Any

from checkouts import ROOT, Outcome, Target, read_memory

RESULTS = Path(__file__).parent / "results"
MODULES = {"sandbox_attacks": "SANDBOX_ATTACKS", "network_attacks": "NETWORK_ATTACKS", "file_attacks": "FILE_ATTACKS"}
TIMEOUT = 300.0
"""Seconds that one attack may take."""


def load_attacks() -> dict[str, Any]:
    """Return the function of each attack by its number."""
    found: dict[str, Any] = {}
    for module, name in MODULES.items():
        found |= getattr(import_module(module), name)
    return {number: found[number] for number in sorted(found, key=lambda number: int(number[1:]))}


def attack_here(name: str, checkout: Path) -> None:
    """Run one attack in this process, and print what happened and whether it is right, separated by a tab."""
    module, _, function = name.partition(".")
    attack = getattr(import_module(module), function) if function else load_attacks()[name]
    with tempfile.TemporaryDirectory() as folder:
        outcome = attack(Target(checkout, Path(folder)))
        if iscoroutine(outcome):
            outcome = asyncio.run(outcome)
    assert isinstance(outcome, Outcome)
    print(f"{' '.join(outcome.happened.split())}\t{outcome.right}", flush=True)


def attack(number: str, checkout: Path) -> dict[str, Any]:
    """Run one attack in a process of its own. All processes that it leaves are killed."""
    command = [sys.executable, __file__, "--attack", number, "--checkout", str(checkout)]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OPENAI_API_KEY": "none", "TOOLBENCH_KEY": "none-at-all"}
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    peak = 0.0
    try:
        while process.poll() is None and time.monotonic() - started < TIMEOUT:
            time.sleep(0.1)
            try:
                peak = max(peak, read_memory("VmHWM", process.pid))
            except (OSError, StopIteration):
                continue
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    happened, _, right = (out.strip().splitlines() or [""])[-1].rpartition("\t")
    if not happened:
        reason = (err.strip().splitlines() or ["no output"])[-1][:200]
        happened, right = f"ended after {time.monotonic() - started:.0f} s with {peak:.0f} MiB: {reason}", "False"
    return {
        "happened": happened.replace(str(checkout), "").replace(str(Path.home()), "~"), "right": right == "True",
        "seconds": round(time.monotonic() - started, 1), "peak_mib": round(peak),
    }  # fmt: skip


def read_commit(checkout: Path) -> str:
    """Return the short commit of a checkout, with a plus sign if its package differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "codetool", "conf") else "")


def write_table() -> None:
    """Write `results/attacks.md` from the outcomes before and after."""
    before, after = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("before", "after"))
    lines = [
        "# Attacks, before and after",
        "",
        f"Before: `{before['command']}` at commit {before['commit']}, {before['date']}. "
        f"After: `{after['command']}` at commit {after['commit']}, {after['date']}.",
        "Made by `python experiments/attacks/attacks.py --table`.",
        "",
        "| # | attack | before | right | after | right |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, row in after["attacks"].items():
        old = before["attacks"].get(number, {"happened": "not run", "right": False})
        cells = [number, row["attack"]]
        for each in (old, row):
            cells += [each["happened"].replace("|", "\\|"), "yes" if each["right"] else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    (RESULTS / "attacks.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run the attacks, print a line for each, and store them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NUMBER", help="attacks to run, such as A5")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="root of the checkout to attack")
    parser.add_argument("--out", type=Path, help="JSON file for the outcomes; those of other attacks in it are kept")
    parser.add_argument("--table", action="store_true", help="write results/attacks.md")
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    if options.table:
        write_table()
    elif options.attack:
        attack_here(options.attack, checkout)
    else:
        run_attacks(options, checkout)


def run_attacks(options: argparse.Namespace, checkout: Path) -> None:
    """Run the chosen attacks one after the other."""
    attacks = load_attacks()
    if unknown := set(options.only or ()) - set(attacks):
        sys.exit(f"error: --only {' '.join(sorted(unknown))}: there are {', '.join(attacks)}")
    stored = json.loads(options.out.read_text())["attacks"] if options.out and options.out.exists() else {}
    for number in options.only or attacks:
        row = attack(number, checkout)
        title = (attacks[number].__doc__ or "").partition(": ")[2]
        stored[number] = {"attack": title, **row}
        print(
            f"{number:4} {'right' if row['right'] else 'WRONG'} {row['seconds']:6.1f} s  {row['happened']}", flush=True
        )
        if options.out:
            name = "" if checkout == ROOT else " --checkout FOLDER"
            content = {
                "command": f"python experiments/attacks/attacks.py{name} --out FILE",
                "commit": read_commit(checkout),
                "date": datetime.date.today().isoformat(),
                "attacks": {each: stored[each] for each in attacks if each in stored},
            }
            options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
