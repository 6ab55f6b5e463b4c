"""Read a finished sweep from its folder: the swept options, the metrics and the run folder of each cell."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.judged_results import load_result_lines
from codetool.runs.bounded_input import read_text

TABLE_FILE = "cells.csv"
STATUS_COLUMN, FOLDER_COLUMN = "status", "folder"
SEED_OPTION = "seed"
HEADLINE_METRICS = ("success", "sopr", "correct_path", "scep")
"""Cells are compared by the first of these metrics that they have."""
TOKEN_METRICS = ("tokens_in", "tokens_out", "prm_tokens")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, None if the interval is unknown."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Cell:
    """A cell of a sweep."""

    options: Mapping[str, str]
    """Value of each swept option."""
    status: str
    """`done`, or the reason why the cell or some of its tasks failed."""
    metrics: Mapping[str, Estimate]
    folder: Path | None
    """Run folder; None if there is none."""

    @cached_property
    def label(self) -> str:
        """The swept options by the last part of their names, such as `width=2 n=4`."""
        return " ".join(f"{name.split('.')[-1]}={value}" for name, value in self.options.items())

    @property
    def tokens(self) -> float | None:
        """Tokens of policy and PRM for a task; None if unknown."""
        amounts = [self.metrics[name].value for name in TOKEN_METRICS if name in self.metrics]
        return sum(amounts) if amounts else None

    @cached_property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """Result lines, one per task; empty without a run folder. Raises ConfigError for a line of another shape."""
        if self.folder is None or not (self.folder / "results.jsonl").is_file():
            return []
        return load_result_lines(self.folder)


@dataclass(frozen=True)
class SweepResults:
    """The cells of a sweep, in the order of its table."""

    folder: Path
    cells: Sequence[Cell]

    @property
    def name(self) -> str:
        """Name of the sweep, which is the group of its W&B runs."""
        return self.folder.resolve().name

    @property
    def options(self) -> list[str]:
        """Names of the swept options."""
        return list(self.cells[0].options)

    @property
    def unmeasured(self) -> list[Cell]:
        """The cells without the compared metric."""
        return [cell for cell in self.cells if self.metric not in cell.metrics]

    @cached_property
    def measured(self) -> list[Cell]:
        """The cells that have the compared metric."""
        return [cell for cell in self.cells if self.metric in cell.metrics]

    @cached_property
    def metric(self) -> str:
        """The metric that the cells are compared by. Raises ConfigError if no cell has one."""
        for name in (*HEADLINE_METRICS, *self._list_metrics()):
            if any(name in cell.metrics for cell in self.cells):
                return name
        raise ConfigError(
            f"dashboard.sweep={self.folder}: none of its {len(self.cells)} cells has a result; the first: "
            f"{self.cells[0].status}"
        )

    def list_varied(self) -> list[str]:
        """Return the options with at least two values among the measured cells; seeds are repetitions."""
        return [
            name
            for name in self.options
            if name != SEED_OPTION and len({cell.options[name] for cell in self.measured}) > 1
        ]

    def _list_metrics(self) -> list[str]:
        return [name for cell in self.cells for name in cell.metrics]


def read_sweep(folder: Path) -> SweepResults:
    """Read a sweep's folder. Raises ConfigError if it is none."""
    file = folder / TABLE_FILE
    if not file.is_file():
        reason = "there is no such folder" if not folder.is_dir() else f"there is no {TABLE_FILE} in it"
        raise ConfigError(
            f"dashboard.sweep={folder} is no folder of a sweep that has ended: {reason}. A command with -m makes one "
            "in outputs/sweeps."
        )
    try:
        rows = list(csv.DictReader(read_text(file).splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not rows or STATUS_COLUMN not in rows[0] or FOLDER_COLUMN not in rows[0]:
        raise ConfigError(
            f"{file} is not the table of a sweep: it needs rows, with {STATUS_COLUMN} and {FOLDER_COLUMN}."
        )
    names = list(rows[0])
    swept = names[: names.index(STATUS_COLUMN)]
    return SweepResults(folder, [_parse_row(row, swept, folder) for row in rows])


def _parse_row(row: Mapping[str, str | None], swept: Sequence[str], folder: Path) -> Cell:
    values = {name: _parse_number(text) for name, text in row.items() if name and name not in swept}
    metrics = {
        name: Estimate(value, values.get(f"{name}_low"), values.get(f"{name}_high"))
        for name, value in values.items()
        if value is not None and f"{name}_low" in row
    }
    options = {name: row[name] or "" for name in swept}
    return Cell(options, row[STATUS_COLUMN] or "", metrics, _find_run_folder(row[FOLDER_COLUMN], folder))


def _parse_number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _find_run_folder(text: str | None, sweep: Path) -> Path | None:
    """Find a cell's run folder, also if the outputs have been moved since the sweep, or are seen from elsewhere."""
    if not text:
        return None
    named = Path(text)
    moved = sweep.resolve().parent.parent / named.parent.name / named.name
    return next((folder for folder in (named, moved) if folder.is_dir()), None)


def parse_estimate(metric: Mapping[str, Any]) -> Estimate:
    """Return a metric of a `metrics.json`. Raises KeyError, TypeError or ValueError if it is none."""
    low, high = metric.get("low"), metric.get("high")
    return Estimate(float(metric["value"]), *(None if bound is None else float(bound) for bound in (low, high)))
