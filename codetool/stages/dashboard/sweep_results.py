"""Read a finished sweep from its folder: the swept options, the metrics and the run folder of each cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.cell_groups import SEED_OPTION, Estimate, describe_options, rank_value
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.metric_choice import find_headline
from codetool.evaluation.metrics import get_metric
from codetool.evaluation.sweep_table import SweepRow, read_sweep_table


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
        return describe_options(list(self.options.values()), list(self.options))

    @property
    def tokens(self) -> float | None:
        """Tokens of policy and PRM for a task; None if unknown."""
        return get_metric({name: estimate.value for name, estimate in self.metrics.items()}, "tokens")

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
        known = [name for cell in self.cells for name in cell.metrics]
        if known:
            return find_headline(known) or known[0]
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

    def find_best(self) -> Cell:
        """Return the cell with the best value of the compared metric."""
        return max(self.measured, key=lambda cell: rank_value(self.metric, cell.metrics[self.metric].value))


def read_sweep(folder: Path) -> SweepResults:
    """Read a sweep's folder. Raises ConfigError if it is none."""
    rows = read_sweep_table(folder, f"dashboard.sweep={folder}")
    return SweepResults(folder, [_make_cell(row) for row in rows])


def _make_cell(row: SweepRow) -> Cell:
    values = {name: _parse_number(text) for name, text in row.numbers.items()}
    metrics = {
        name: Estimate(value, values.get(f"{name}_low"), values.get(f"{name}_high"))
        for name, value in values.items()
        if value is not None and f"{name}_low" in row.numbers
    }
    return Cell(row.options, row.status, metrics, row.folder)


def _parse_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def parse_estimate(metric: Mapping[str, Any]) -> Estimate:
    """Return a metric of a `metrics.json`. Raises KeyError, TypeError or ValueError if it is none."""
    low, high = metric.get("low"), metric.get("high")
    return Estimate(float(metric["value"]), *(None if bound is None else float(bound) for bound in (low, high)))
