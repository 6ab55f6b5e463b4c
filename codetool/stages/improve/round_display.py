"""Show the rounds of stage=improve: a line for each, the table and the figure of all, and the command of the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from codetool.evaluation.charts import Chart, Line, Point
from codetool.evaluation.metric_format import format_percent
from codetool.tracking.run_content import Table as LoggedTable

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "solved": ("collection", "solved"), "spread": ("collection", "groups_with_spread"),
    "duplicates": ("collection", "duplicates"), "entropy": ("collection", "entropy"),
    "loss": ("training", "loss"), "KL": ("training", "kl"), "entropy after": ("training", "entropy"),
    "errors/step": ("evaluation", "tool_errors_per_step"),
    "no tools": ("evaluation", "answers_without_tools"), "copies": ("evaluation", "answers_copying_query"),
}  # fmt: skip
"""Columns of the table after those of the success, each with the place of its value in a round's record."""
PERCENT = ("spread", "duplicates", "no tools", "copies")
"""Columns of shares."""


def describe_round(record: Mapping[str, Any]) -> str:
    """Return the line of a finished round."""
    success, difference = record["evaluation"]["success"], record.get("difference")
    against = f", {_format_difference(difference)} points against round 0" if difference else ""
    return f"round {record['round']}: success on dev {_format_success(success)}{against}"


def build_rounds_table(records: Sequence[Mapping[str, Any]], best: int) -> Table:
    """Return a table with a row for each round; columns without any value are left out."""
    columns = [name for name in COLUMNS if any(_find(record, name) is not None for record in records)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("round", "success on dev", "against round 0", *columns):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        mark = "*" if record["round"] == best else " "
        cells = [_format_cell(name, _find(record, name)) for name in columns]
        difference = record.get("difference")
        table.add_row(
            f"{record['round']}{mark}",
            _format_success(record["evaluation"]["success"]),
            _format_difference(difference) if difference else "",
            *cells,
        )
    return table


def build_logged_table(records: Sequence[Mapping[str, Any]]) -> LoggedTable:
    """Return the numbers of all rounds as a table for the loggers."""
    columns = ["round", "success", "low", "high", "difference", *COLUMNS]
    rows = []
    for record in records:
        success, difference = record["evaluation"]["success"], record.get("difference") or {}
        start = [record["round"], success["value"], success["low"], success["high"], difference.get("value")]
        rows.append([*start, *(_find(record, name) for name in COLUMNS)])
    return LoggedTable(columns, rows)


def build_success_chart(records: Sequence[Mapping[str, Any]], tasks: int) -> Chart:
    """Return the chart of the success on dev by round, with intervals; `tasks` is the number of dev tasks."""
    points = [
        Point(record["round"], success["value"], success["low"], success["high"])
        for record in records
        for success in [record["evaluation"]["success"]]
    ]
    return Chart(
        title=f"Success by round, {tasks:,} dev tasks",
        x_name="round",
        y_name="success",
        lines=[Line("success on dev", points)],
        ticks=[(record["round"], str(record["round"])) for record in records],
    )


def describe_end(best: Mapping[str, Any], reason: str, usage: str) -> Iterator[str]:
    """Yield the lines at the end: why no further round begins, and the best round with the command that uses it."""
    yield f"ended: {reason}"
    success = _format_success(best["evaluation"]["success"])
    if best["round"]:
        yield f"best: round {best['round']}, success on dev {success}; use it: {usage}"
    else:
        yield f"best: round 0, the policy of the command, success on dev {success}: no round is better on dev"


def _find(record: Mapping[str, Any], column: str) -> float | None:
    """Return the value of a column, None where the round has none."""
    value: Any = record
    for name in COLUMNS[column]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value  # type: ignore[no-any-return]


def _format_cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column in PERCENT:
        return format_percent(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.1e}"


def _format_success(success: Mapping[str, float | None]) -> str:
    low, high, value = success.get("low"), success.get("high"), success["value"]
    assert value is not None
    interval = f" ({100 * low:.0f} … {100 * high:.0f})" if low is not None and high is not None else ""
    return f"{format_percent(value)}{interval}"


def _format_difference(difference: Mapping[str, float | None]) -> str:
    low, high, value = difference["low"], difference["high"], difference["value"]
    assert value is not None
    interval = f" ({100 * low:+.1f} … {100 * high:+.1f})" if low is not None and high is not None else ""
    return f"{100 * value:+.1f}{interval}"
