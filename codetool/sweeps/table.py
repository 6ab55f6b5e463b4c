"""Write a sweep's results as a table with a row per cell: all columns as CSV, the main ones on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codetool.evaluation.metric_choice import Metric, choose_headline, format_value, list_metrics, read_metrics
from codetool.runs import journal
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.grid import GridCell

CONTEXT_METRICS = (
    "sopr", "sowr", "scep", "solved", "examples", "auroc", "accuracy", "ece", "selection_regret", "loss", "updates",
    "tokens_in", "tokens_out", "prm_tokens", "tool_calls", "seconds",
)  # fmt: skip
"""Metrics shown on the terminal beside the compared one."""


def describe_status(outcome: CellOutcome) -> str:
    """Return `done`, or the reason why the cell or some of its tasks failed."""
    if outcome.error is not None:
        return f"failed: {outcome.error}"
    if outcome.failed:
        tasks = outcome.metrics.get("tasks")
        failures = tasks.get("failures") if isinstance(tasks, Mapping) else None
        first = f", first {failures[0]['task_id']}: {failures[0]['message']}" if failures else ""
        return f"{outcome.failed} tasks failed internally{first}"
    return "done"


def write_csv(path: Path, grid: Sequence[GridCell], outcomes: Sequence[CellOutcome]) -> None:
    """Write a row for every cell: swept options, status, task counts, every metric with its interval, and folder."""
    rows = [_build_row(cell, outcome) for cell, outcome in zip(grid, outcomes, strict=True)]
    text = io.StringIO()
    writer = csv.DictWriter(text, _list_columns(grid, outcomes), "", "ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    journal.atomic_write(path, [text.getvalue().encode()])


def _list_columns(grid: Sequence[GridCell], outcomes: Sequence[CellOutcome]) -> list[str]:
    metrics = [read_metrics(outcome.metrics) for outcome in outcomes]
    columns: list[str] = []
    for name in list_metrics(outcome.metrics for outcome in outcomes):
        has_bounds = any(each.get(name, {}).get("low") is not None for each in metrics)
        columns += [name, f"{name}_low", f"{name}_high"] if has_bounds else [name]
    stages = dict.fromkeys(f"{stage}_folder" for outcome in outcomes for stage in outcome.stage_folders)
    return [*grid[0].swept, "status", "tasks", "finished", "failed", *columns, *stages, "folder"]


def _build_row(cell: GridCell, outcome: CellOutcome) -> dict[str, object]:
    row: dict[str, object] = {
        **cell.swept,
        "status": " ".join(describe_status(outcome).split()),
        "folder": outcome.folder,
    }
    if isinstance(tasks := outcome.metrics.get("tasks"), Mapping):
        row |= {"tasks": tasks.get("asked"), "finished": tasks.get("finished"), "failed": outcome.failed}
    for name, metric in read_metrics(outcome.metrics).items():
        row |= {name: metric["value"], f"{name}_low": metric["low"], f"{name}_high": metric["high"]}
    return row | {f"{stage}_folder": path for stage, path in outcome.stage_folders.items()}


def print_table(grid: Sequence[GridCell], outcomes: Sequence[CellOutcome], console: Console) -> None:
    """Print the table, and below it the reasons of failed cells."""
    headline_metric = choose_headline(outcome.metrics for outcome in outcomes)
    context_metrics = [
        name
        for name in CONTEXT_METRICS
        if name != headline_metric and any(_get_value(outcome, name) for outcome in outcomes)
    ]
    headline = _format_headlines(outcomes, headline_metric)
    table = Table(*_shorten_names(grid[0].swept), box=None, pad_edge=False, header_style="bold")
    for name in [*headline, *context_metrics]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for number, (cell, outcome) in enumerate(zip(grid, outcomes, strict=True)):
        shown = [values[number] for values in headline.values()]
        shown += [format_value(name, _get_value(outcome, name)) for name in context_metrics]
        state = "done" if describe_status(outcome) == "done" else "[red]failed[/red]"
        table.add_row(*map(escape, cell.swept.values()), *shown, state)
    console.print(table)
    for line in _describe_failures(grid, outcomes):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def _shorten_names(options: Iterable[str]) -> list[str]:
    """Return each option's last part if it is unique among them, else its full name."""
    options = list(options)
    last = [name.split(".")[-1] for name in options]
    return [short if last.count(short) == 1 else name for name, short in zip(options, last, strict=True)]


def _describe_failures(grid: Sequence[GridCell], outcomes: Sequence[CellOutcome]) -> Iterator[str]:
    for cell, outcome in zip(grid, outcomes, strict=True):
        if (state := describe_status(outcome)) != "done":
            yield f"{cell.label} {state}"


def _format_headlines(outcomes: Sequence[CellOutcome], name: str | None) -> dict[str, list[str]]:
    """Return the columns of the compared metric, by their titles: its values, and its intervals if it has any."""
    if name is None:
        return {}
    metrics: list[Metric] = [read_metrics(outcome.metrics).get(name, {}) for outcome in outcomes]
    values, lows, highs = ([format_value(name, each.get(key)) for each in metrics] for key in ("value", "low", "high"))
    intervals = [f"{low} … {high}" if low and high else "" for low, high in zip(lows, highs, strict=True)]
    return {name: values, "95 % interval": intervals} if any(intervals) else {name: values}


def _get_value(outcome: CellOutcome, name: str) -> float | None:
    return read_metrics(outcome.metrics).get(name, {}).get("value")
