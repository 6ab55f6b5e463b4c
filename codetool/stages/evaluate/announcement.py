"""Print what a run is about before it begins, and what a dry run expects it to cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.runs.code_version import read_code_version
from codetool.runs.provenance import describe_other_code
from codetool.stages import run_folder
from codetool.stages.estimates.estimate import Estimate, describe_estimate
from codetool.stages.estimates.estimate_run import estimate_run
from codetool.types import Task


def announce_run(
    stage: str,
    choices: Mapping[str, str],
    tasks: Sequence[Task],
    path: Path,
    done: Mapping[str, Any],
    console: Console,
) -> None:
    """Print the options, the number of tasks and of those that are `done` already, and the folder."""
    preset = ("experiment",) if choices["experiment"] != "none" else ()
    judge = ("judge",) if choices.get("judge", "none") != "none" else ()
    groups = (*preset, "benchmark", "search", "policy", "prm", "reward", *judge)
    parts = [f"stage={stage}"] if stage != "evaluate" else []  # the default stage
    parts += [f"{group}={choices[group]}" for group in groups]
    console.print(" ".join(parts), highlight=False, soft_wrap=True)
    finished = sum(task.id in done for task in tasks)
    repeats = max((task.repeat for task in tasks), default=1)
    times = f", {len(tasks)} searches with repeats={repeats}" if repeats > 1 else ""
    count = sum(task.repeat == 1 for task in tasks)
    console.print(f"tasks: {count}{times}, done already: {finished}", highlight=False)
    console.print(f"results: {path}", highlight=False, soft_wrap=True)


def print_estimate(
    config: RunConfig, path: Path, tasks: Sequence[Task], done: Mapping[str, Any], console: Console
) -> Estimate:
    """Print what a dry run tells: the expected costs, other code that has worked on the folder, and damage in it."""
    estimate = estimate_run(config, path, tasks, done)
    for line in describe_estimate(estimate):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    print_other_code(config, path, console)
    for line in run_folder.describe_damage(path):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return estimate


def print_other_code(config: RunConfig, path: Path, console: Console) -> None:
    """Print a line if another code version has worked on a folder; for dry runs, which record no session."""
    if line := describe_other_code(path, read_code_version(config.settings)):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
