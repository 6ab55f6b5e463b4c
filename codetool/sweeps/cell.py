"""Run one cell of a sweep, in the process that Hydra's launcher chooses: this one, a worker, or another machine.

Each cell appends its outcome to the sweep's `cells.jsonl`. A failing cell does not stop the others.
"""

from __future__ import annotations

import os
import signal
import socket
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

from codetool.errors import CodeToolError
from codetool.evaluation.metric_choice import choose_headline, format_value, read_metrics
from codetool.runs import journal
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.run_overrides import run_overrides

PLAN_FILE = "plan.json"
"""File of the sweep's folder with its `name`, its `parent` process, the `labels` of its cells and their `overrides`."""
OUTCOMES_FILE = "cells.jsonl"
TRACEBACKS_FILE = "errors.txt"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class CellOutcome:
    """Outcome of a cell, a line of `cells.jsonl`."""

    number: int
    folder: str | None = None
    """The cell's run folder; in a chain, that of its last stage."""
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
    estimate: Mapping[str, Any] = field(default_factory=dict)
    """What a dry run expects the cell's last stage to cost; empty otherwise, and for stages without an estimate."""
    stage_folders: Mapping[str, str] = field(default_factory=dict)
    """Run folder of each stage of a chain."""


def run_cell(config: DictConfig) -> float | tuple[float, ...] | None:
    """Run the cell with the number that Hydra's launcher has given, and record its outcome.

    Returns the values of the objectives; None if the cell failed. `config` is not used: it has Hydra's own settings
    alone, and the cell composes its configuration here, so that what is wrong with it is its own failure.
    """
    hydra = HydraConfig.get()
    folder, number = Path(hydra.sweep.dir), int(hydra.job.num)
    plan = next(iter(journal.read_records(folder / PLAN_FILE)))
    parallel = [os.getpid(), socket.gethostname()] != plan["parent"]
    if parallel:
        _end_with_parent()
    console = Console(stderr=True)
    label = f"[{number + 1}/{plan['cells']}] {plan['labels'][number]}"
    if not parallel:
        console.print(label, markup=False, highlight=False, soft_wrap=True)
    outcome = _run_and_time(number, plan, folder, Console(stderr=True, quiet=parallel))
    with journal.Journal(folder / OUTCOMES_FILE) as outcomes:
        outcomes.append(asdict(outcome))
    result = outcome.error or f"{_format_headline(outcome)}{outcome.seconds:.0f} s"
    console.print(f"{label}: {result}" if parallel else f"  {result}", markup=False, highlight=False, soft_wrap=True)
    return read_objectives(outcome, plan["objectives"])


def _run_and_time(number: int, plan: Mapping[str, Any], folder: Path, console: Console) -> CellOutcome:
    started = time.monotonic()
    # a problem without an offline run is of another kind, such as a file that could not be written
    finished = list(journal.read_records(folder / OUTCOMES_FILE)) if (folder / OUTCOMES_FILE).is_file() else []
    wandb_is_down = any(line["wandb_problem"] and line["unsynced"] for line in finished)
    share = list(dict.fromkeys(Path(line["folder"]) for line in finished if line["folder"]))
    cell = {
        "sweep": plan["name"], "label": plan["labels"][number], "upload": not wandb_is_down, "share": share
    }  # fmt: skip
    try:
        outcomes = run_overrides(plan["overrides"][number], plan["flags"], console, cell)
    except (CodeToolError, OSError) as error:
        return CellOutcome(number, error=str(error), seconds=time.monotonic() - started)
    except Exception as error:  # an unexpected error in one cell must not lose the others
        with (folder / TRACEBACKS_FILE).open("a") as file:
            file.write(f"cell {number + 1}\n{traceback.format_exc()}\n")
        message = f"{type(error).__name__}: {error} (see {folder / TRACEBACKS_FILE})"
        return CellOutcome(number, error=message, seconds=time.monotonic() - started)
    return _build_outcome(number, outcomes, time.monotonic() - started)


def read_objectives(outcome: CellOutcome, names: Sequence[str]) -> float | tuple[float, ...] | None:
    """Return the value of each metric, a single one as a number; None if the cell failed or has not all of them.

    Without names, it is the metric by which cells are compared.
    """
    metrics = read_metrics(outcome.metrics)
    chosen = names or [name for name in [choose_headline([outcome.metrics])] if name]
    values = [metrics[name]["value"] for name in chosen if name in metrics]
    known = tuple(value for value in values if value is not None)
    if outcome.error is not None or not known or len(known) < len(chosen):
        return None
    return known if len(known) > 1 else known[0]


def _format_headline(outcome: CellOutcome) -> str:
    """Return the cell's compared metric as text; empty for a dry run."""
    name = choose_headline([outcome.metrics])
    return f"{name} {format_value(name, read_metrics(outcome.metrics)[name]['value'])}, " if name else ""


def _build_outcome(number: int, outcomes: Mapping[str, RunOutcome], seconds: float) -> CellOutcome:
    """Return the outcome of a cell; `outcomes` are those of its stages, of which the last is compared."""
    [*_, outcome] = outcomes.values()
    tracked = [each.tracked for each in outcomes.values() if each.tracked]
    offline = [each.offline_folder for each in tracked if each.offline_folder]
    return CellOutcome(
        number,
        folder=str(outcome.folder),
        failed=outcome.failed,
        tasks=outcome.tasks,
        metrics=outcome.metrics or {},
        unsynced=str(offline[-1]) if offline else None,
        wandb_problem=next((each.message for each in tracked if each.is_warning), None),
        seconds=seconds,
        estimate=outcome.estimate or {},
        stage_folders={stage: str(each.folder) for stage, each in outcomes.items()} if len(outcomes) > 1 else {},
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
