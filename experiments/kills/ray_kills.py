"""Kill what runs of `engine=ray` consist of, and run them again: `python experiments/kills/ray_kills.py --trials 50`.

A cluster of three nodes on this machine lasts over all trials. Each trial starts a run on it, and at a random moment
kills a worker, a node, or the command itself; or the command of a run with a cluster of its own. A run that lost a
worker or a node must end by itself. A killed command must leave no worker on the cluster, and no process and no
temporary folder of a cluster of its own. Then the same command runs again. The results, trees and candidates must be
those of an undisturbed `engine=local`: each task once, and no candidate drawn twice.

Each trial is appended to `results/ray_trials.jsonl`, so the same command resumes; `results/ray_summary.json` has the
counts. `--minutes N` begins no trial later.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from world import LATENCY

from codetool.runs import journal
from codetool.runs.code_version import read_code_version
from codetool.runs.worker_reaper import find_marked_processes

from chat_server import serve_in_process  # type: ignore[import-not-found]  # isort: skip
from scripted_policy import ScriptedPolicy  # type: ignore[import-not-found]  # isort: skip
from command_line import CommandLine, read_lines, strip_seconds  # type: ignore[import-not-found]  # isort: skip
from ray_nodes import ENVIRONMENT, RayNodes, start_nodes  # type: ignore[import-not-found]  # isort: skip

RESULTS = Path(__file__).parent / "results"
TRIALS, SUMMARY = RESULTS / "ray_trials.jsonl", RESULTS / "ray_summary.json"
TARGETS = ("worker", "worker", "node", "node", "command", "command", "command with a cluster of its own")
TASKS = 6
LONGEST = 3.0
"""A kill falls at most so many seconds after the first candidate was recorded, or after the start for a command."""
TIMEOUT = 280.0
LEAVE_SECONDS = 20.0
"""Time after a kill in which a cluster ends the workers of the killed command."""


@dataclass
class Trial:
    """One kill and what came of it; a line of the results."""

    number: int
    target: str
    seed: int
    killed_after: float | None = None
    """Seconds from the start of the command to the kill; None if it ended before."""
    done_before: int = 0
    """Tasks that had a result then."""
    exit_codes: list[int] = field(default_factory=list)
    """Exit codes of the disturbed command and of its repetition."""
    problem: str | None = None
    """What was wrong; None if everything held."""
    code: str | None = None


def main() -> None:
    """Run the trials that are not there yet, and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so long")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    done = {line["number"] for line in journal.read_records(TRIALS)}
    code = str(read_code_version({}))
    with (
        tempfile.TemporaryDirectory(prefix="codetool-ray-kills-") as temporary,
        serve_in_process(ScriptedPolicy(4 * LATENCY)) as policy,
        start_nodes(3) as nodes,
    ):
        words = ["policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "benchmark.split=dev"]
        words += ["search.n=2", f"limit={TASKS}", "logger=none"]
        local = CommandLine(Path(temporary) / "local")
        if (finished := local(*words)).returncode:
            raise SystemExit(finished.stderr)
        for number in range(arguments.trials):
            if number in done or time.monotonic() > end:
                continue
            draw = random.Random(f"{arguments.seed} {number}")
            trial = Trial(number, draw.choice(TARGETS), arguments.seed, code=code)
            run_trial(trial, CommandLine(Path(temporary) / f"trial {number}"), words, nodes, local, draw)
            with journal.Journal(TRIALS) as trials:
                trials.append(asdict(trial))
            print(f"{number} {trial.target}: {trial.problem or 'equal'}", flush=True)
    write_summary(arguments.trials)


def run_trial(
    trial: Trial, run: CommandLine, words: Sequence[str], nodes: RayNodes, local: CommandLine, draw: random.Random
) -> None:
    """Disturb one run, repeat its command, and record in the trial what was wrong."""
    is_own = "own" in trial.target
    engine = ["engine=ray", "engine.tasks_per_worker=2"]
    engine += ["engine.workers=2"] if is_own else [f"engine.address={nodes.address}"]
    environment = os.environ | ({} if is_own else ENVIRONMENT)
    started = time.monotonic()
    process = run.start(*words, *engine, environment=environment)
    if trial.target in ("worker", "node"):
        wait_for_candidates(run, process)
    time.sleep(draw.uniform(0, LONGEST))
    mark = find_mark(process.pid)
    if process.poll() is None and kill(trial.target, process, nodes, draw):
        trial.killed_after = round(time.monotonic() - started, 2)
        trial.done_before = count_lines(run, "results")
    error = process.communicate(TIMEOUT)[1]
    trial.exit_codes.append(process.returncode)
    if trial.target in ("worker", "node") and process.returncode:
        trial.problem = f"it did not end by itself: {error[-500:]}"
    trial.problem = trial.problem or find_leftovers(nodes, mark)
    repeated = run.start(*words, *engine, environment=environment)
    error = repeated.communicate(TIMEOUT)[1]
    trial.exit_codes.append(repeated.returncode)
    trial.problem = trial.problem or (f"repetition: {error[-500:]}" if repeated.returncode else compare(run, local))
    if trial.target == "node" and trial.killed_after is not None:
        nodes.add()


def wait_for_candidates(run: CommandLine, process: Any) -> None:
    """Until the command has recorded a candidate, or has ended."""
    while process.poll() is None and not count_lines(run, "candidates"):
        time.sleep(0.02)


def count_lines(run: CommandLine, name: str) -> int:
    """Count the complete lines of a journal of the run's folder."""
    return sum(file.read_bytes().count(b"\n") for file in run.outputs.glob(f"evaluate/*/{name}.jsonl"))


def kill(target: str, process: Any, nodes: RayNodes, draw: random.Random) -> bool:
    """Kill the target by SIGKILL; return whether there was one."""
    if target == "node":
        nodes.remove()
    elif target == "worker":
        workers = nodes.list_workers()
        if not workers:
            return False
        draw.choice(workers).kill()
    else:
        process.kill()
    return True


def find_mark(command: int) -> str | None:
    """Return `VARIABLE=MARK` of the processes of a cluster that a command has started, None without one."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            entries = file.read_bytes().split(b"\0")
            parent = int((file.parent / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == command and (marks := [entry for entry in entries if entry.startswith(b"CODETOOL_RAY=")]):
            return marks[0].decode()
    return None


def find_leftovers(nodes: RayNodes, mark: str | None) -> str | None:
    """Describe what the command has left: workers on the cluster, or a cluster of its own and its folder."""
    if workers := nodes.wait_until_idle(LEAVE_SECONDS):
        return f"{len(workers)} workers were left on the cluster"
    deadline = time.monotonic() + LEAVE_SECONDS
    while time.monotonic() < deadline:
        processes = find_marked_processes(mark) if mark else []
        folders = list(Path(tempfile.gettempdir()).glob("codetool-ray-????????"))
        if not processes and not folders:
            return None
        time.sleep(0.1)
    return f"left behind: {processes} {folders}"


def compare(run: CommandLine, local: CommandLine) -> str | None:
    """Describe how the run's folder differs from that of `engine=local`, None if it is equal."""
    folder, other = run.folder("tmdb_verified"), local.folder("tmdb_verified")
    for name in ("results", "trees"):
        if strip_seconds(read_lines(folder, name)) != strip_seconds(read_lines(other, name)):
            return f"{name}.jsonl differs"
    drawn = sorted(map(str, read_lines(folder, "candidates")))
    return None if drawn == sorted(map(str, read_lines(other, "candidates"))) else "candidates.jsonl differs"


def write_summary(asked: int) -> None:
    """Write the counts and every problem."""
    trials = list(journal.read_records(TRIALS))
    counts = {
        target: {
            "trials": len(of_target),
            "killed while running": sum(trial["killed_after"] is not None for trial in of_target),
            "equal": sum(trial["problem"] is None for trial in of_target),
        }
        for target in dict.fromkeys(TARGETS)
        if (of_target := [trial for trial in trials if trial["target"] == target])
    }
    content = {
        "command": f"python experiments/kills/ray_kills.py --trials {asked}",
        "trials": len(trials),
        "targets": counts,
        "code": dict(Counter(trial["code"] for trial in trials)),
        "problems": [trial for trial in trials if trial["problem"]],
    }
    journal.atomic_write(SUMMARY, [json.dumps(content, indent=2).encode() + b"\n"])


if __name__ == "__main__":
    main()
