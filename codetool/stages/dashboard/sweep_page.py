"""Build the page of a sweep's dashboard from the results of its cells and PRMs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from codetool.evaluation.bar_chart import BarChart, draw_bars
from codetool.evaluation.charts import draw, render_figure
from codetool.evaluation.heat_map import HeatMap, draw_heat_map
from codetool.evaluation.metric_format import format_metric
from codetool.evaluation.metrics import get_metric
from codetool.stages.dashboard.html_page import Card, DashboardPage, Figure, PageTable, Section, TableCell
from codetool.stages.dashboard.prm_results import SHOWN_METRICS, PRMResult, draw_calibration, draw_regret
from codetool.stages.dashboard.sweep_charts import (
    AnyChart,
    describe_interval,
    draw_ablation,
    draw_costs,
    draw_heat_maps,
    draw_lines,
)
from codetool.stages.dashboard.sweep_results import Cell, SweepResults
from codetool.types import FigureFormat

REPORT_FILE = "report.html"
MAX_TASKS = 10
MAX_QUESTION_CHARS = 120
TASK_FORMATS = {"seconds": "{:,.1f}", "tokens": "{:,.0f}", "usd": "{:.4f}"}
CELL_METRICS = ("scep", "correct_path", "tool_calls", "seconds", "usd")
"""Metrics in the table of cells, beside the compared one and the tokens."""


def build_page(sweep: SweepResults, prms: Sequence[PRMResult], folder: Path) -> DashboardPage:
    """Return the page; its links are relative to `folder`, in which it is written."""
    sections = [
        _draw_section("Success against the swept numbers", draw_lines(sweep)),
        _draw_section("Heat maps of two options", draw_heat_maps(sweep)),
        _draw_section(
            "Success against cost", draw_costs(sweep), "The line joins the cells that no cheaper cell reaches."
        ),
        _draw_section("Ablation", draw_ablation(sweep)),
        _build_prm_section(prms, folder),
        Section("Cells", table=_build_cell_table(sweep, folder)),
        *_build_task_sections(sweep, folder),
    ]
    now = datetime.now().astimezone()
    return DashboardPage(
        title=sweep.name,
        state=f"CodeTool dashboard · {_count(sweep.cells, 'cell')} · written {now:%Y-%m-%d %H:%M %Z}",
        notes=list(describe_gaps(sweep)),
        cards=list(_build_cards(sweep)),
        sections=[section for section in sections if section and (section.figures or section.table)],
    )


def describe_gaps(sweep: SweepResults) -> Iterator[str]:
    """Yield a line about what the dashboard lacks, and why."""
    if len(sweep.cells) == 1:
        yield "The sweep has one cell, so that there is nothing to compare: no lines, heat map or frontier."
    elif len(sweep.measured) == 1:
        yield f"One cell of {len(sweep.cells)} has a result, so that there is nothing to compare."
    if failed := sweep.unmeasured:
        reason = f"the first, {failed[0].label}: {failed[0].status or 'no reason is recorded'}"
        yield f"Left out: {_count(failed, 'cell')} of {len(sweep.cells)} without a result; {reason}"
    if gone := [cell for cell in sweep.measured if cell.folder is None]:
        yield (
            f"The run folders of {_count(gone, 'cell')} are gone: their tasks, their reports and intervals over "
            "several cells are left out."
        )


def _count(items: Sequence[Any], noun: str) -> str:
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"


def _build_cards(sweep: SweepResults) -> Iterator[Card]:
    best = sweep.find_best()
    estimate = best.metrics[sweep.metric]
    interval = describe_interval(sweep.metric, estimate)
    yield Card(
        f"best {sweep.metric}", format_metric(sweep.metric, estimate.value), f"{interval} · {best.label}".strip(" ·")
    )
    priced = [cell for cell in sweep.measured if cell.tokens]
    if len(priced) > 1:
        cheapest = min(priced, key=lambda cell: cell.tokens or 0.0)
        value = format_metric(sweep.metric, cheapest.metrics[sweep.metric].value)
        yield Card("cheapest cell", value, f"{cheapest.tokens:,.0f} tokens a task · {cheapest.label}")
    yield Card("cells with a result", f"{len(sweep.measured)} of {len(sweep.cells)}")
    for amount, name in (("tokens", "tokens in all"), ("usd", "USD in all")):
        total = sum(_sum_lines(cell.lines, amount) for cell in sweep.measured)
        if total:
            yield Card(name, f"{total:,.0f}" if amount == "tokens" else f"{total:,.4g}")


def _sum_lines(lines: Iterable[Mapping[str, Any]], amount: str) -> float:
    return sum(measure_task(line, amount) or 0.0 for line in lines)


def measure_task(line: Mapping[str, Any], amount: str) -> float | None:
    """Return the tokens, seconds or USD of a result line's task; None if unknown."""
    value = get_metric(line["metrics"], amount)
    return None if value is None else float(value)


def _draw_section(title: str, charts: Iterable[tuple[str, AnyChart]], text: str = "") -> Section:
    return Section(title, text, [Figure(name, chart.title, render_chart(chart)) for name, chart in charts])


def render_chart(chart: AnyChart, format_: FigureFormat = "svg") -> bytes:
    """Return the content of a chart's file."""
    draw_figure: Callable[[], Any]
    if isinstance(chart, HeatMap):
        draw_figure = partial(draw_heat_map, chart)
    elif isinstance(chart, BarChart):
        draw_figure = partial(draw_bars, chart)
    else:
        draw_figure = partial(draw, chart)
    return render_figure(draw_figure, format_)


def _build_prm_section(prms: Sequence[PRMResult], folder: Path) -> Section | None:
    if not prms:
        return None
    charts: list[tuple[str, AnyChart]] = [("prm-calibration", draw_calibration(prms))]
    if (regret := draw_regret(prms)) is not None:
        charts.append(("prm-selection-regret", regret))
    names = [name for name in SHOWN_METRICS if any(name in prm.metrics for prm in prms)]
    rows = [
        [
            TableCell(prm.name),
            *(TableCell(f"{prm.metrics[name].value:.3f}" if name in prm.metrics else "") for name in names),
        ]
        for prm in prms
    ]
    drawn = _draw_section("Process reward models", charts)
    return Section(drawn.title, "", drawn.figures, PageTable(["PRM", *names], rows, names))


def _build_cell_table(sweep: SweepResults, folder: Path) -> PageTable:
    options = [name.split(".")[-1] for name in sweep.options]
    shown = [name for name in CELL_METRICS if name != sweep.metric and any(name in c.metrics for c in sweep.cells)]
    numeric = [sweep.metric, "95 % interval", "tokens", *shown]
    rows = []
    for cell in sweep.cells:
        estimate = cell.metrics.get(sweep.metric)
        values = [
            format_metric(sweep.metric, estimate.value) if estimate else "",
            describe_interval(sweep.metric, estimate) if estimate else "",
            f"{cell.tokens:,.0f}" if cell.tokens is not None else "",
            *(_format_value(name, cell.metrics[name].value) if name in cell.metrics else "" for name in shown),
        ]
        row = [*map(TableCell, cell.options.values()), *map(TableCell, values), TableCell(cell.status)]
        rows.append([*row, TableCell("report" if (link := _link_report(cell, folder)) else "", link)])
    return PageTable([*options, *numeric, "status", "trees"], rows, numeric)


def _format_value(name: str, value: float) -> str:
    return f"{value:.4g}" if name == "usd" else format_metric(name, value)


def _link_report(cell: Cell, folder: Path, task: str | None = None) -> str | None:
    """Return the relative address of the cell's report, and of a task in it; None if there is no report."""
    if cell.folder is None or not (cell.folder / REPORT_FILE).is_file():
        return None
    path = os.path.relpath((cell.folder / REPORT_FILE).resolve(), folder.resolve())
    return quote(path) + (f"#task-{quote(task, safe='')}" if task is not None else "")


def _build_task_sections(sweep: SweepResults, folder: Path) -> Iterator[Section]:
    """Yield the slowest tasks and the costliest ones, by USD if the prices are known, else by tokens."""
    tasks = [(cell, line) for cell in sweep.measured for line in cell.lines]
    is_priced = any(measure_task(line, "usd") for _, line in tasks)
    costs = (("Slowest tasks", "seconds"), ("Costliest tasks", "usd" if is_priced else "tokens"))
    for title, amount in costs:
        ranked = sorted(
            (task for task in tasks if measure_task(task[1], amount)),
            key=lambda task: -(measure_task(task[1], amount) or 0.0),
        )
        if ranked:
            amounts = ["seconds", "tokens", *(["usd"] if is_priced else [])]
            rows = [_build_task_row(cell, line, amounts, folder) for cell, line in ranked[:MAX_TASKS]]
            table = PageTable(["task", "cell", *amounts, "outcome", "question"], rows, amounts)
            yield Section(title, f"The {len(rows)} tasks with the most {amount} in any cell.", table=table)


def _build_task_row(cell: Cell, line: Mapping[str, Any], amounts: Sequence[str], folder: Path) -> list[TableCell]:
    task, question = str(line["task_id"]), str(line.get("query") or "")
    values = {amount: measure_task(line, amount) for amount in amounts}
    outcome = "solved" if line.get("success") else (line["error"] or {}).get("kind") or "not checked"
    texts = [
        *("" if value is None else TASK_FORMATS[amount].format(value) for amount, value in values.items()),
        str(outcome),
        question if len(question) <= MAX_QUESTION_CHARS else f"{question[: MAX_QUESTION_CHARS - 1]}…",
    ]
    return [TableCell(task, _link_report(cell, folder, task)), TableCell(cell.label), *map(TableCell, texts)]
