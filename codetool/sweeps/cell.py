"""Run one cell of a sweep, in the process that Hydra's launcher chooses: this one, a worker, or another machine.

Each cell appends its outcome to the sweep's `cells.jsonl`. A failing cell does not stop the others.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from codetool.config.invocation import get_chosen_options
from codetool.config.run_config import validate
from codetool.errors import CodeToolError
from codetool.evaluation.metric_format import format_percent
from codetool.runs import journal
from codetool.stages.evaluate.run import RunOutcome, run

PLAN_FILE = "plan.json"
"""File of the sweep's folder with its `name`, its `parent` process and the `labels` of its cells."""
OUTCOMES_FILE = "cells.jsonl"
TRACEBACKS_FILE = "errors.txt"
HEADLINE_METRICS = ("success", "sopr", "correct_path", "scep")
"""Cells are compared by the first of these metrics that they have."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class CellOutcome:
    """Outcome of a cell, a line of `cells.jsonl`."""

    number: int
    folder: str | None = None
    """The cell's run folder."""
    error: str | None = None
    """Reason why the cell could not be run."""
    failed: int = 0
    """Tasks that failed internally."""
    tasks: Sequence[str] = ()
    """Ids of the requested tasks; the run folder may hold results of others."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Content of the cell's `metrics.json`; empty for a dry run."""
    unsynced: str | None = None
    """Folder of the cell's offline W&B runs, if they are not uploaded yet."""
    wandb_problem: str | None = None
    seconds: float = 0.0


def run_cell(config: DictConfig) -> None:
    """Run the cell that Hydra has composed and record its outcome."""
    hydra = HydraConfig.get()
    folder, number = Path(hydra.sweep.dir), int(hydra.job.num)
    plan = next(iter(journal.read_records(folder / PLAN_FILE)))
    parallel = os.getpid() != plan["parent"]
    if parallel:
        _end_with_parent()
    console = Console(stderr=True)
    label = f"[{number + 1}/{len(plan['labels'])}] {plan['labels'][number]}"
    if not parallel:
        console.print(label, markup=False, highlight=False, soft_wrap=True)
    choices = get_chosen_options(hydra)
    outcome = _run_and_time(number, config, choices, plan, folder, Console(stderr=True, quiet=parallel))
    with journal.Journal(folder / OUTCOMES_FILE) as outcomes:
        outcomes.append(asdict(outcome))
    result = outcome.error or f"{_format_headline(outcome)}{outcome.seconds:.0f} s"
    console.print(f"{label}: {result}" if parallel else f"  {result}", markup=False, highlight=False, soft_wrap=True)


def _run_and_time(
    number: int, config: DictConfig, choices: Mapping[str, str], plan: Mapping[str, Any], folder: Path, console: Console
) -> CellOutcome:
    started = time.monotonic()
    # a problem without an offline run is of another kind, such as a file that could not be written
    finished = list(journal.read_records(folder / OUTCOMES_FILE))
    wandb_is_down = any(line["wandb_problem"] and line["unsynced"] for line in finished)
    share = list(dict.fromkeys(Path(line["folder"]) for line in finished if line["folder"]))
    try:
        outcome = run(
            validate(config),
            choices,
            console,
            sweep=plan["name"],
            label=plan["labels"][number],
            upload=not wandb_is_down,
            share=share,
        )
    except (CodeToolError, OSError) as error:
        return CellOutcome(number, error=str(error), seconds=time.monotonic() - started)
    except Exception as error:  # an unexpected error in one cell must not lose the others
        with (folder / TRACEBACKS_FILE).open("a") as file:
            file.write(f"cell {number + 1}\n{traceback.format_exc()}\n")
        message = f"{type(error).__name__}: {error} (see {folder / TRACEBACKS_FILE})"
        return CellOutcome(number, error=message, seconds=time.monotonic() - started)
    return _build_outcome(number, outcome, time.monotonic() - started)


def _format_headline(outcome: CellOutcome) -> str:
    """Return the cell's compared metric as text; empty for a dry run."""
    metrics = outcome.metrics.get("metrics", {})
    name = next((name for name in HEADLINE_METRICS if name in metrics), None)
    return f"{name} {format_percent(metrics[name]['value'])}, " if name else ""


def _build_outcome(number: int, outcome: RunOutcome, seconds: float) -> CellOutcome:
    tracked = outcome.tracked
    return CellOutcome(
        number,
        folder=str(outcome.folder),
        failed=outcome.failed,
        tasks=outcome.tasks,
        metrics=outcome.metrics or {},
        unsynced=str(tracked.offline_folder) if tracked and tracked.offline_folder else None,
        wandb_problem=tracked.message if tracked and tracked.is_warning else None,
        seconds=seconds,
    )


def _end_with_parent() -> None:
    """Kill this process when its parent ends; otherwise a pool's workers would first finish their cells."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    if not any(thread.name == "sweep watch" for thread in threading.enumerate()):
        threading.Thread(target=watch, name="sweep watch", daemon=True).start()
