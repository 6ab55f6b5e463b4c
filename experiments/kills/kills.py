"""Kill commands at random moments, run them again, and compare: `python experiments/kills/kills.py`.

Each trial draws a command of every stage and launcher, a moment over the command's life (its start-up included, or just
when it writes), and whom to kill by SIGKILL: the process, its process group, or one of its descendants, of every role
equally often. One second later none of its processes may run and none of its temporary files lie about; a command that
lost a descendant must end by itself. Then the same command must end with exit code 0, complete and equal:
`metrics.json` but for seconds, journals as sets, weights by their bytes, and no torn line or leftover file.

Each trial is appended to `results/trials.jsonl`, so the same command resumes; `results/summary.json` has the counts.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from checks import find_difference, is_equal_answer, summarize_outputs, wait_for_orphans
from commands import COMMANDS, Command
from roles import group_by_role
from running import Running
from world import World, open_world

from codetool.models.vllm_watchdog import list_descendants
from codetool.runs import journal
from codetool.runs.code_version import read_code_version

RESULTS = Path(__file__).parent / "results"
TRIALS = RESULTS / "trials.jsonl"
ORPHAN_SECONDS = 1.0
"""Time after a kill in which all processes of the command must be gone."""
MAX_REPETITIONS = 3
"""Repetitions of a command until it has no internal failure; more than one is needed only if a repetition meets one."""
TARGETS = ("process", "group", "child", "child")
MOMENTS = ("any", "any", "write")
PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Trial:
    """One kill and what came of it; a line of `trials.jsonl`."""

    number: int
    command: str
    target: str
    moment: str
    killed_after: float | None = None
    """Seconds from the start to the kill; None if the command ended before."""
    killed: str = ""
    """Role of the killed process; of early trials its name."""
    exit_codes: list[int] = field(default_factory=list)
    """Exit codes of the killed command and of its repetitions."""
    problem: str | None = None
    """What was wrong; None if everything held."""
    code: str | None = None
    """Version of the code that was killed; None if it was not recorded."""


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of a command."""

    seconds: float
    content: dict[str, Any]
    answers: dict[int, Any]


def main() -> None:
    """Run the trials that are not there yet, and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(COMMANDS), help="run the trials of these commands alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so long")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # whatever a killed command leaves becomes our child
    RESULTS.mkdir(exist_ok=True)
    done = {line["number"] for line in journal.read_records(TRIALS)}
    references: dict[str, Reference] = {}
    code = str(read_code_version({}))
    with tempfile.TemporaryDirectory(prefix="codetool-kills-") as temporary, open_world(Path(temporary)) as world:
        for number, name in enumerate(plan_commands(arguments.seed, arguments.trials)):
            if number in done or time.monotonic() > end or (arguments.only and name not in arguments.only):
                continue
            if name not in references:
                references[name] = run_undisturbed(COMMANDS[name], world, Path(temporary) / "reference" / name)
            outputs = Path(temporary) / f"trial {number}"
            draw = random.Random(f"{arguments.seed} {number}")
            trial = run_trial(number, COMMANDS[name], world, outputs, references[name], draw)
            trial.code = code
            with journal.Journal(TRIALS) as trials:
                trials.append(asdict(trial))
            print(f"{number} {name} {trial.target} {trial.moment}: {trial.problem or 'equal'}", flush=True)
            shutil.rmtree(outputs, ignore_errors=True)
    write_summary(arguments.trials)


def plan_commands(seed: int, trials: int) -> list[str]:
    """Return the command of each trial: their shares, in random order."""
    names = [name for name, command in COMMANDS.items() for _ in range(command.share)]
    random.Random(seed).shuffle(names)
    return [names[number % len(names)] for number in range(trials)]


def run_undisturbed(command: Command, world: World, outputs: Path) -> Reference:
    """Run the command to its end and return what it left."""
    outputs.mkdir(parents=True)
    process = Running(command, world, outputs)
    code = process.finish()
    if code:
        raise RuntimeError(f"{command.name}: exit {code}\n{process.error_text()}")
    if orphans := wait_for_orphans(ORPHAN_SECONDS):
        raise RuntimeError(f"{command.name}: still running after its end: {orphans}")
    return Reference(process.seconds, summarize_outputs(outputs), process.answers)


def run_trial(
    number: int, command: Command, world: World, outputs: Path, reference: Reference, draw: random.Random
) -> Trial:
    """Kill the command once, then repeat it until it has ended without an internal failure."""
    trial = Trial(number, command.name, draw.choice(TARGETS), draw.choice(MOMENTS))
    outputs.mkdir(parents=True)
    process = Running(command, world, outputs)
    if trial.moment == "any":
        process.wait(draw.uniform(0.02, 1.0) * reference.seconds)
    else:
        process.wait_for_writes(draw.randint(1, 40), draw.uniform(0, 0.003), 2 * reference.seconds)
    trial.killed_after = kill(trial, process, draw)
    if trial.target == "child":  # the command itself lives on, and must end by itself
        trial.exit_codes.append(process.finish())
    else:
        trial.exit_codes.append(process.collect())
    if orphans := wait_for_orphans(ORPHAN_SECONDS):
        trial.problem = f"orphans {ORPHAN_SECONDS:g} s after the kill: {orphans[:3]}"
        end_all()
        return trial
    if leftovers := process.list_leftovers():
        trial.problem = f"left in the system's temporary folders: {leftovers[:3]}"
    if "Traceback" in process.error_text() and trial.target != "child":
        trial.problem = f"a traceback: {process.error_text()[-300:]}"
    told = dict(process.answers)
    repeated = process
    for _ in range(MAX_REPETITIONS):
        repeated = Running(command, world, outputs)
        trial.exit_codes.append(repeated.finish())
        if trial.exit_codes[-1] == 0:
            break
    trial.problem = trial.problem or judge_repetition(
        repeated, outputs, reference, told, sandbox=trial.target != "child"
    )
    end_all()
    return trial


def kill(trial: Trial, process: Running, draw: random.Random) -> float | None:
    """Kill what the trial names; return the seconds since the start, None if the command had ended."""
    if process.popen.poll() is not None:
        return None
    seconds = time.monotonic() - process.started
    with suppress(ProcessLookupError):
        if trial.target == "group":
            os.killpg(process.popen.pid, signal.SIGKILL)
            return seconds
        children = [pid for pid in list_descendants() if pid != process.popen.pid] if trial.target == "child" else []
        roles = group_by_role(children)
        if roles:
            trial.killed = draw.choice(sorted(roles))
            os.kill(draw.choice(roles[trial.killed]), signal.SIGKILL)
        else:
            trial.target, trial.killed = "process", "process"
            os.kill(process.popen.pid, signal.SIGKILL)
    return seconds


def judge_repetition(
    process: Running, outputs: Path, reference: Reference, told: dict[int, Any], *, sandbox: bool
) -> str | None:
    """Return what is wrong after the repetition, None if it is complete and equal."""
    if process.popen.returncode:
        return f"the same command ends with {process.popen.returncode}: {process.error_text()[-400:]}"
    if changed := {n for n, answer in told.items() if not is_equal_answer(process.answers.get(n), answer)}:
        return f"{len(changed)} answers differ from those before the kill"
    if not is_equal_answer(process.answers, reference.answers):
        return f"answers differ from the undisturbed server's ({len(process.answers)})"
    try:
        return find_difference(summarize_outputs(outputs), reference.content, sandbox=sandbox)
    except ValueError as error:
        return str(error)


def end_all() -> None:
    """Kill and wait for every process below this one."""
    while running := list_descendants():
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def write_summary(planned: int) -> None:
    """Write the counts of the trials by command, target and moment, and every problem."""
    trials = list(journal.read_records(TRIALS))
    kills = [trial for trial in trials if trial["killed_after"] is not None]
    content = {
        "planned": planned,
        "trials": len(trials),
        "kills": len(kills),
        "equal": sum(trial["problem"] is None for trial in trials),
        "by_command": _count(trials, "command"),
        "by_target": _count(kills, "target"),
        "by_killed_descendant": _count([trial for trial in kills if trial["target"] == "child"], "killed"),
        "by_moment": _count(kills, "moment"),
        "by_code": _count(trials, "code"),
        "problems": {str(trial["number"]): trial["problem"] for trial in trials if trial["problem"]},
    }
    journal.atomic_write(RESULTS / "summary.json", [json.dumps(content, indent=2).encode() + b"\n"])
    print(json.dumps({key: content[key] for key in ("planned", "trials", "kills", "equal")}))


def _count(trials: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, int]]:
    """Return the number of trials and of equal ones by the value of a field."""
    every, equal = (
        Counter(str(trial.get(name)) for trial in trials),
        Counter(str(trial.get(name)) for trial in trials if trial["problem"] is None),
    )
    return {value: {"trials": every[value], "equal": equal[value]} for value in sorted(every)}


if __name__ == "__main__":
    main()
