"""Log a sweep as a run of its own beside those of its cells: its table, its figures, and its best cell.

The cells are runs of the sweep's group. All offline runs that still wait for an upload lie, or are linked, in the
folder `wandb` of the sweep, so that one `wandb sync` uploads them.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codetool.credentials.masking import mask_command
from codetool.evaluation.metric_choice import MINIMIZED_METRICS, choose_headline, read_metrics
from codetool.stages.logged_run import MAX_NAME_CHARS
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.grid import GridCell
from codetool.tracking.run_content import RunContent, RunInfo, SyncStatus, Table
from codetool.tracking.run_loggers import LoggerOptions, start_run_loggers
from codetool.tracking.wandb_folder import link_offline_runs, list_offline_runs, remove_links

JOB_TYPE = "sweep"


def log_sweep(
    folder: Path,
    grid: Sequence[GridCell],
    outcomes: Sequence[CellOutcome],
    figures: Sequence[Path],
    loggers: LoggerOptions,
) -> str | None:
    """Log the sweep, and return what to tell the user about the uploads of the sweep and its cells, if anything."""
    remove_links(folder / "wandb")
    problems = [outcome.wandb_problem for outcome in outcomes if outcome.wandb_problem]
    run = RunInfo(
        folder,
        folder.name,
        JOB_TYPE,
        [JOB_TYPE, *(name[:64] for name in grid[0].swept)],
        f"sweep {folder.name}"[:MAX_NAME_CHARS],
        config=_describe_grid(grid),
        axis="cells/done",
        upload=not problems,
    )
    with start_run_loggers(loggers, run) as started:
        status = started.finish(_build_content(folder, grid, outcomes, figures))
    return _describe_uploads(folder / "wandb", outcomes, status, problems)


def _describe_grid(grid: Sequence[GridCell]) -> dict[str, Any]:
    """Return the values of each swept option, and the other overrides of the cells."""
    swept = {name: list(dict.fromkeys(cell.swept[name] for cell in grid)) for name in grid[0].swept}
    fixed = [override for override in grid[0].overrides if override.split("=")[0].lstrip("+") not in swept]
    values = {f"swept/{name}": values for name, values in swept.items()}
    return {"cells": len(grid), "overrides": mask_command(fixed), **values}


def _build_content(
    folder: Path, grid: Sequence[GridCell], outcomes: Sequence[CellOutcome], figures: Sequence[Path]
) -> RunContent:
    """Return the number of cells, the best value of the compared metric, the table and the figures."""
    values: dict[str, float] = {
        "cells/asked": len(grid),
        "cells/failed": sum(outcome.error is not None for outcome in outcomes),
    }
    metric = choose_headline(outcome.metrics for outcome in outcomes)
    if metric is not None:
        metrics = [read_metrics(outcome.metrics).get(metric, {}) for outcome in outcomes]
        measured = [value for each in metrics if (value := each.get("value")) is not None]
        values[f"best/{metric}"] = min(measured) if metric in MINIMIZED_METRICS else max(measured)
    table = _read_table(folder / "cells.csv")
    return RunContent(values, {"cells": table}, figures=_choose_format(figures))


def _choose_format(figures: Sequence[Path]) -> dict[str, Path]:
    """Return one file for each figure: its SVG, else its PNG."""
    by_preference = sorted(figures, key=lambda file: file.suffix == ".svg")
    return {file.stem: file for file in by_preference if file.suffix in (".svg", ".png")}


def _read_table(file: Path) -> Table:
    """Read a CSV file; what looks like a number is one."""
    with file.open(encoding="utf-8", newline="") as opened:
        columns, *rows = csv.reader(opened)
    return Table(columns, [list(map(_parse_cell, row)) for row in rows])


def _parse_cell(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text or None


def _describe_uploads(
    folder: Path, outcomes: Sequence[CellOutcome], status: SyncStatus | None, problems: Sequence[str]
) -> str | None:
    """Link the offline runs of all cells into the sweep's folder and return how to upload them, or where they are."""
    waiting = {Path(outcome.unsynced) for outcome in outcomes if outcome.unsynced}
    # a later cell of the same result may have uploaded the run
    runs = [run for offline in sorted(waiting) for run in list_offline_runs(offline, unsynced=True)]
    own = list_offline_runs(folder, unsynced=True)
    if not runs and not own:
        return status.message if status else None
    link_offline_runs(folder, runs)
    problems = [*problems, *([status.message] if status and status.is_warning else [])]
    why = f" ({problems[0].removeprefix('W&B: ').split('. Nothing')[0]})" if problems else ""
    count = len({run.parent for run in runs}) + bool(own)
    return f"W&B: runs kept offline: {count}{why}. Upload them with: wandb sync {shlex.quote(str(folder))}"
