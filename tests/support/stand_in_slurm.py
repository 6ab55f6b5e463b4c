"""Stand-ins for `sbatch`, `srun` and `scancel`: jobs, arrays and steps as processes of this machine.

`python stand_in_slurm.py sbatch SCRIPT` checks the options of the script as SLURM does, and runs it once for each
task of its array, with SLURM's environment variables. State is in the folder `STAND_IN_SLURM`. Jobs are run while
sbatch waits for them, as with its own option `--wait`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = "STAND_IN_SLURM"
"""Environment variable with the folder of the stand-in."""
PROGRAMS = ("sbatch", "srun", "scancel")


class OptionParser(argparse.ArgumentParser):
    """A parser of SLURM's options, which refuses what SLURM does not know and every abbreviation."""

    def __init__(self, program: str) -> None:
        super().__init__(program, allow_abbrev=False, add_help=False)
        for name in ("--nodes", "-N", "--ntasks", "-n", "--ntasks-per-node", "--cpus-per-task", "-c"):
            self.add_argument(name, type=int)
        for name in ("--job-name", "--output", "--error", "--partition", "--account", "--gpus-per-node"):
            self.add_argument(name)
        self.add_argument("--time", type=check(r"(\d+-)?\d+(:\d+){0,2}"))
        self.add_argument("--mem", type=check(r"\d+[KMGT]?"))
        self.add_argument("--gpus-per-task", type=int)
        self.add_argument("--signal", type=check(r"([BR]:)?[A-Z0-9]+(@\d+)?"))
        self.add_argument("--array", type=check(r"\d+(-\d+)?(,\d+(-\d+)?)*(%\d+)?"))
        self.add_argument("--wait", action="store_true")


def check(pattern: str) -> Any:
    """A type of an option whose values have this form."""

    def value(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"Invalid specification: {text}")
        return text

    return value


def read_scripts() -> list[str]:
    """The batch scripts of the documentation: an array of shards, and a training."""
    page = Path(__file__).parents[2] / "docs/how_to/run_on_many_machines.md"
    return re.findall(r"```shell\n(#!.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def parse_script(script: str, words: Sequence[str] = ()) -> argparse.Namespace:
    """The options of a batch script, and those of the command line before them. Exits like sbatch if one is wrong."""
    lines = script.splitlines()
    if not lines or not lines[0].startswith("#!"):
        sys.exit("sbatch: error: This does not look like a batch script. The first line must start with #!")
    options: list[str] = []
    for line in lines[1:]:
        if line.startswith("#SBATCH"):
            options += shlex.split(line.removeprefix("#SBATCH"), comments=True)
        elif line.strip() and not line.startswith("#"):
            break  # later ones are ignored
    return OptionParser("sbatch").parse_args([*options, *words])


def list_tasks(array: str) -> list[int]:
    """The numbers of `1-3,7%2`."""
    parts = [part.partition("-") for part in array.partition("%")[0].split(",")]
    return [number for first, _, last in parts for number in range(int(first), int(last or first) + 1)]


def describe_job(options: argparse.Namespace, job: int) -> dict[str, str]:
    """The variables of a job or step of this number of nodes and tasks."""
    nodes = options.nodes or int(os.environ.get("SLURM_NNODES", 1))
    per_node = options.ntasks_per_node or int(os.environ.get("SLURM_NTASKS_PER_NODE", 1))
    variables = {
        "SLURM_JOB_ID": job, "SLURM_JOBID": job, "SLURM_NNODES": nodes, "SLURM_JOB_NUM_NODES": nodes,
        "SLURM_NTASKS": options.ntasks or nodes * per_node, "SLURM_NTASKS_PER_NODE": per_node,
        "SLURM_NODELIST": ",".join(["localhost"] * nodes), "SLURM_JOB_NODELIST": ",".join(["localhost"] * nodes),
        "SLURM_JOB_NAME": options.job_name or os.environ.get("SLURM_JOB_NAME", "job"),
        "SLURM_SUBMIT_DIR": str(Path.cwd()), "SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_NODEID": 0,
    }  # fmt: skip
    return {name: str(value) for name, value in variables.items()}


def run_sbatch(words: Sequence[str]) -> int:
    """Run a script for each task of its array, and return the highest exit code."""
    file = Path(words[-1])
    options = parse_script(file.read_text(), words[:-1])
    job, folder = os.getpid(), Path(os.environ[FOLDER])
    print(f"Submitted batch job {job}", flush=True)
    tasks: list[int | None] = [*list_tasks(options.array)] if options.array else [None]
    running: list[subprocess.Popen[bytes]] = []
    limit = int(options.array.partition("%")[2] or len(tasks)) if options.array else 1
    codes: list[int] = []
    for number, task in enumerate(tasks):
        while len(running) >= limit:
            codes.append(running.pop(0).wait())
        variables = describe_job(options, job + number) | describe_array(job, task, tasks)
        output = (options.output or "slurm-%j.out").replace("%A", str(job)).replace("%a", str(task))
        with (folder / output.replace("%j", str(job))).open("wb") as said:
            process = subprocess.Popen(
                ["bash", file], env=os.environ | variables, stdout=said, stderr=said, start_new_session=True
            )
        (folder / f"job-{task}").write_text(str(process.pid))
        running.append(process)
    return max(code if code >= 0 else 128 - code for code in [*codes, *(process.wait() for process in running)])


def describe_array(job: int, task: int | None, tasks: Sequence[int | None]) -> dict[str, str]:
    if task is None:
        return {}
    numbers = [number for number in tasks if number is not None]
    values = {"TASK_ID": task, "TASK_COUNT": len(numbers), "TASK_MIN": min(numbers), "TASK_MAX": max(numbers)}
    return {f"SLURM_ARRAY_{name}": str(value) for name, value in {"JOB_ID": job, **values}.items()}


def run_srun(words: Sequence[str]) -> int:
    """Start the processes of a step, pass signals on to them, and return the highest exit code."""
    first = next(index for index, word in enumerate(words) if not word.startswith("-"))
    options = OptionParser("srun").parse_args(list(words[:first]))
    variables = describe_job(options, int(os.environ.get("SLURM_JOB_ID", os.getpid())))
    per_node = int(variables["SLURM_NTASKS_PER_NODE"])
    processes = [
        subprocess.Popen(words[first:], env=os.environ | variables | describe_process(rank, per_node))
        for rank in range(int(variables["SLURM_NTASKS"]))
    ]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: [process.send_signal(number) for process in processes])
    return max(code if code >= 0 else 128 - code for code in [process.wait() for process in processes])


def describe_process(rank: int, per_node: int) -> Mapping[str, str]:
    names = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank % per_node, "SLURM_NODEID": rank // per_node}
    return {name: str(value) for name, value in names.items()}


def run_scancel(words: Sequence[str]) -> int:
    """Send a signal to all processes of a task: `scancel [--signal=KILL] JOB_TASK`."""
    parser = argparse.ArgumentParser("scancel", allow_abbrev=False)
    parser.add_argument("--signal", default="TERM")
    parser.add_argument("job")
    options = parser.parse_args(words)
    process = int((Path(os.environ[FOLDER]) / f"job-{options.job.partition('_')[2] or None}").read_text())
    os.killpg(process, signal.Signals[f"SIG{options.signal}"])
    return 0


def install(folder: Path) -> dict[str, str]:
    """Write the programs into a folder, and return the environment variables with which they are found."""
    (folder / "bin").mkdir(parents=True)
    for program in PROGRAMS:
        file = folder / "bin" / program
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {__file__} {program} "$@"\n')
        file.chmod(0o755)
    python = Path(sys.executable).parent
    return {"PATH": f"{folder / 'bin'}:{python}:{os.environ['PATH']}", FOLDER: str(folder)}


if __name__ == "__main__":
    sys.exit({"sbatch": run_sbatch, "srun": run_srun, "scancel": run_scancel}[sys.argv[1]](sys.argv[2:]))
