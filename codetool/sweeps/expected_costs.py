"""Print what a dry run of a sweep expects its cells to cost, one row a cell, and the sum of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codetool.stages.progress import format_duration
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.grid import GridCell

COLUMNS = ("tasks", "requests", "steps", "tokens in", "tokens out", "time", "USD", "by")


def print_expected_costs(grid: Sequence[GridCell], outcomes: Sequence[CellOutcome], console: Console) -> None:
    """Print the table; nothing if no cell has an estimate. An amount that one cell lacks is unknown in the sum."""
    estimates = [outcome.estimate for outcome in outcomes]
    if not any(estimates):
        return
    table = Table("expected", box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for cell, estimate in zip(grid, estimates, strict=True):
        by = {"bound": "upper bound", "measured": f"{estimate.get('measured', 0)} tasks"}.get(
            estimate.get("basis", ""), ""
        )
        table.add_row(escape(cell.label), *_format_amounts([estimate]), by)
    table.add_row(f"{len(grid)} cells", *_format_amounts(estimates), "", style="bold")
    console.print(table)
    console.print(
        "Each cell is counted alone: candidates that cells share are drawn once.", highlight=False, soft_wrap=True
    )


def _format_amounts(estimates: Sequence[Mapping[str, Any]]) -> list[str]:
    tokens = [[sum(pair[place] for pair in each.get("tokens", {}).values()) for place in (0, 1)] for each in estimates]
    seconds, usd = (_add_known([_read_amount(each, name) for each in estimates]) for name in ("seconds", "usd"))
    return [
        f"{sum(each.get('tasks', 0) for each in estimates):,}",
        *(
            "unknown" if calls is None else f"{calls:,.0f}"
            for calls in (_count_calls(estimates, name) for name in ("policy requests", "steps"))
        ),
        f"{sum(read for read, _ in tokens):,.0f}",
        f"{sum(written for _, written in tokens):,.0f}",
        "unknown" if seconds is None else format_duration(seconds),
        "unknown" if usd is None else f"{usd:,.4f}",
    ]


def _read_amount(estimate: Mapping[str, Any], name: str) -> float | None:
    """Return an amount of a cell, 0 if all its tasks are done; None if it is unknown."""
    amount: float | None = 0.0 if estimate.get("tasks") == 0 else estimate.get(name)
    return amount


def _count_calls(estimates: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the number of calls of a kind; None if a cell with tasks left does not tell it."""
    return _add_known([_read_amount({**each, **each.get("calls", {})}, name) for each in estimates])


def _add_known(amounts: Sequence[float | None]) -> float | None:
    """Return the sum, None if any amount is unknown."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
