"""Run a sweep (`-m`): run every cell of a grid with Hydra's launcher, then write one table and the figures.

Hydra's launchers are used, but not its sweepers, since all cells are composed before the first one runs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hydra._internal.callbacks import Callbacks  # a launcher must be given one
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from rich.console import Console

from codetool.config.config_sources import initialize_hydra
from codetool.config.override_errors import get_key
from codetool.config.overrides import is_hydra_override
from codetool.errors import ConfigError
from codetool.runs import journal
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.run_folder import LOCK_FILE, lock_file
from codetool.sweeps.cell import OUTCOMES_FILE, PLAN_FILE, TRACEBACKS_FILE, CellOutcome, run_cell
from codetool.sweeps.figures import draw_figures
from codetool.sweeps.grid import GridCell, expand_grid, name_sweep
from codetool.sweeps.logged_sweep import log_sweep, read_sweep_settings
from codetool.sweeps.table import print_table, write_csv
from codetool.sweeps.worker_reaper import end_workers_if_killed
from codetool.tracking.run_loggers import LoggerOptions
from codetool.types import FigureFormat

STAGES = ("evaluate",)
"""Stages whose results a table can compare."""
QUIET_TRACKER = "ignore:resource_tracker:UserWarning"
"""Warning filter for joblib's resource tracker, which would report the files of a stopped sweep."""
WIDTH = 160
"""Width in characters of a table that goes to a file or a pipe."""


def sweep(overrides: Sequence[str], stage: str, outputs: Path, *, dry_run: bool, folders: Sequence[str] = ()) -> int:
    """Run every cell and return the number of cells that failed. The overrides have been validated before.

    `folders` are configuration folders that the command line adds.

    Raises ConfigError for an option that cannot vary, a stage that cannot be swept, and a running sweep.
    """
    if stage not in STAGES:
        raise ConfigError(f"stage={stage}: -m runs stage={', '.join(STAGES)} only.")
    with ExitStack() as stack:
        stack.enter_context(initialize_hydra(folders))
        grid = expand_grid(overrides)
        name = name_sweep(overrides, _find_experiment(overrides))
        folder = _create_scratch_folder(stack) if dry_run else outputs / "sweeps" / name
        launcher = _create_launcher(overrides, len(grid), folder)
        if not dry_run:
            _lock(folder, stack)
        outcomes = _run(name, grid, launcher, folder)
        if not dry_run:
            settings = read_sweep_settings(grid)
            formats = settings.figures if settings else ("svg",)
            _conclude(folder, grid, outcomes, settings.logger if settings else {}, formats)
    return sum(outcome.error is not None or outcome.failed > 0 for outcome in outcomes)


def _create_scratch_folder(stack: ExitStack) -> Path:
    """Return a temporary folder for a dry run, removed with the stack unless it holds a traceback."""
    folder = Path(tempfile.mkdtemp(prefix="codetool-sweep-"))

    def remove() -> None:
        if not (folder / TRACEBACKS_FILE).exists():
            shutil.rmtree(folder)

    stack.callback(remove)
    return folder


def _lock(folder: Path, stack: ExitStack) -> None:
    """Lock the sweep's folder, since another grid of the same name has another plan."""
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((folder / LOCK_FILE).open("a+"))
    if (holder := lock_file(file, wait=False)) is not None:
        raise ConfigError(f"sweep {folder.name} is running ({holder}): {folder}. Wait for it, or give outputs=FOLDER.")


def _run(name: str, grid: Sequence[GridCell], launcher: Launcher, folder: Path) -> list[CellOutcome]:
    """Run all cells and return their outcomes in the grid's order."""
    console = Console(stderr=True)
    console.print(f"sweep {name}: {len(grid)} cells", markup=False, highlight=False, soft_wrap=True)
    plan = {"name": name, "parent": os.getpid(), "labels": [cell.label for cell in grid]}
    journal.atomic_write(folder / PLAN_FILE, [json.dumps(plan).encode() + b"\n"])
    (folder / OUTCOMES_FILE).unlink(missing_ok=True)
    outcomes = _read_outcomes(folder, grid, _launch(launcher, grid))
    (folder / PLAN_FILE).unlink(missing_ok=True)
    (folder / OUTCOMES_FILE).unlink(missing_ok=True)
    return outcomes


def _find_experiment(overrides: Sequence[str]) -> str | None:
    chosen = [override.split("=", 1)[1] for override in overrides if get_key(override) == "experiment"]
    return chosen[-1] if chosen and chosen[-1] not in ("none", "null") and "," not in chosen[-1] else None


def _launch(launcher: Launcher, grid: Sequence[GridCell]) -> str:
    """Run every cell and return the reason to give for a cell without an outcome, whose process died."""
    reason = "its process ended before it was done. The same command continues."
    os.environ.setdefault("PYTHONWARNINGS", QUIET_TRACKER)
    try:
        with end_workers_if_killed():
            launcher.launch([list(cell.overrides) for cell in grid], initial_job_idx=0)
    except Exception as error:  # of the launcher; errors of a cell are in its outcome
        return f"{reason} ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return reason


def _create_launcher(overrides: Sequence[str], count: int, folder: Path) -> Launcher:
    """Return Hydra's launcher as the overrides choose it, for so many cells."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    overrides = [*filter(is_hydra_override, overrides), f"hydra.sweep.dir='{quoted}'"]
    config = hydra.compose_config("config", overrides, run_mode=RunMode.MULTIRUN)
    if "n_jobs" in config.hydra.launcher:  # joblib's
        config.hydra.launcher.n_jobs = _count_workers(config.hydra.launcher.n_jobs, count)
        config.hydra.launcher.batch_size = "1"  # otherwise it would give a worker several quick cells at a time
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(context, run_cell, config)


def _count_workers(requested: int, count: int) -> int:
    """Return the number of worker processes: at most one per cell, since each reserves a share of the CPU."""
    from joblib import effective_n_jobs

    try:
        return min(int(effective_n_jobs(requested)), count)
    except ValueError as error:
        raise ConfigError(f"hydra.launcher.n_jobs={requested}: a number of processes, or -1 for one a core.") from error


def _read_outcomes(folder: Path, grid: Sequence[GridCell], reason: str) -> list[CellOutcome]:
    """Return the outcome of every cell, in the grid's order."""
    outcomes = {line["number"]: CellOutcome(**line) for line in journal.read_records(folder / OUTCOMES_FILE)}
    return [outcomes.get(number) or CellOutcome(number, error=reason) for number in range(len(grid))]


def _conclude(
    folder: Path,
    grid: Sequence[GridCell],
    outcomes: Sequence[CellOutcome],
    loggers: LoggerOptions,
    formats: Sequence[FigureFormat],
) -> None:
    """Write and print the table, draw the figures, and log the sweep."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    write_csv(folder / "cells.csv", grid, outcomes)
    print_table(grid, outcomes, console)
    figures = draw_figures(folder, grid, outcomes, formats)
    names = ", ".join(["cells.csv", *(figure.name for figure in figures)])
    console.print(f"files in {folder}: {names}", markup=False, highlight=False, soft_wrap=True)
    if line := log_sweep(folder, grid, outcomes, figures, loggers):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
