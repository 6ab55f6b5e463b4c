"""Draw the figures of a sweep: the compared metric along each swept option, and against its cost.

The figure of an option has a line for each combination of the other options or, if there are too many combinations,
one line for their average. Seeds are repetitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from codetool.evaluation.cell_groups import (
    SEED_OPTION,
    build_frontier,
    describe_options,
    group_by_options,
    pool_results,
    position_values,
)
from codetool.evaluation.charts import COLOURS, Chart, Line, Point, write_chart
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.metric_choice import PERCENT_METRICS, choose_headline, read_metrics
from codetool.evaluation.metrics import TOKEN_METRICS
from codetool.evaluation.result_files import RESULTS
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.grid import GridCell
from codetool.types import FigureFormat

MAX_LEGEND_CHARS = 26
"""Maximum length of a legend entry in characters."""

FinishedCell = tuple[GridCell, CellOutcome]


def draw_figures(
    folder: Path, grid: Sequence[GridCell], outcomes: Sequence[CellOutcome], formats: Sequence[FigureFormat]
) -> list[Path]:
    """Write the figures of the cells that have results, remove older figures, and return the new files."""
    for old in (file for format_ in get_args(FigureFormat) for file in folder.glob(f"*.{format_}")):
        old.unlink()
    metric = choose_headline(outcome.metrics for outcome in outcomes)
    if metric is None:
        return []
    done = [pair for pair in zip(grid, outcomes, strict=True) if _get_value(pair[1], metric) is not None]
    charts = {f"by-{name.replace('/', '-')}": chart for name, chart in _chart_axes(metric, done)}
    if len(done) > 1 and (frontier := _chart_cost(metric, done)):
        charts["cost"] = frontier
    return [file for name, chart in charts.items() for file in write_chart(chart, folder, name, formats)]


def _chart_axes(metric: str, done: Sequence[FinishedCell]) -> Iterator[tuple[str, Chart]]:
    for axis in [name for name in done[0][0].swept if name != SEED_OPTION]:
        values = list(dict.fromkeys(cell.swept[axis] for cell, _ in done))
        if len(values) < 2:
            continue
        others = [name for name in done[0][0].swept if name not in (axis, SEED_OPTION)]
        lines = _group_cells(done, others)
        if len(lines) > len(COLOURS):
            lines = {"all other options averaged": list(done)}
        position = position_values(values)
        chart_lines = [
            Line(name, sorted(_build_points(metric, axis, position, pairs), key=lambda point: point.x))
            for name, pairs in lines.items()
        ]
        ticks = [(position[value], value) for value in values]
        intervals = ", 95 % intervals over tasks" if _has_intervals(metric, done) else ""
        yield (
            axis,
            Chart(
                f"{metric} by {axis}{intervals}",
                axis,
                metric,
                chart_lines,
                share=metric in PERCENT_METRICS,
                ticks=ticks,
            ),
        )


def _group_cells(done: Sequence[FinishedCell], names: Sequence[str]) -> dict[str, list[FinishedCell]]:
    """Group the cells by their values of these options; the keys are legend entries."""
    groups = group_by_options(done, names, _get_options)
    texts = [describe_options(values, names) for values in groups]
    return dict(zip(_shorten_legends(texts), groups.values(), strict=True))


def _get_options(pair: FinishedCell) -> Mapping[str, str]:
    return pair[0].swept


def _shorten_legends(texts: Sequence[str]) -> list[str]:
    """Shorten the texts to distinct legend entries: cut their ends, else their beginnings, else number them."""
    numbered = [f"{number}. {text}" for number, text in enumerate(texts, start=1)]
    candidates = [
        _truncate(texts),
        [text[::-1] for text in _truncate([text[::-1] for text in texts])],
        _truncate(numbered),
    ]
    return next(entries for entries in candidates if len(set(entries)) == len(texts))


def _truncate(texts: Sequence[str]) -> list[str]:
    return [text if len(text) <= MAX_LEGEND_CHARS else text[: MAX_LEGEND_CHARS - 1] + "…" for text in texts]


def _build_points(
    metric: str, axis: str, position: Mapping[str, float], pairs: Sequence[FinishedCell]
) -> Iterator[Point]:
    for (value,), group in group_by_options(pairs, [axis], _get_options).items():
        yield _pool_outcomes(metric, position[value], [outcome for _, outcome in group])


def _pool_outcomes(metric: str, x: float, outcomes: Sequence[CellOutcome], label: str = "") -> Point:
    """Return the metric over the outcomes; if there are several, they are averaged within each task first."""
    measured = [read_metrics(outcome.metrics)[metric] for outcome in outcomes]
    if len(outcomes) == 1:
        return Point(x, measured[0]["value"] or 0.0, measured[0]["low"], measured[0]["high"], label)
    if not all((Path(str(outcome.folder)) / RESULTS).is_file() for outcome in outcomes):
        return Point(x, sum(each["value"] or 0.0 for each in measured) / len(measured), None, None, label)
    lines = [line for outcome in outcomes for line in load_result_lines(Path(str(outcome.folder)), outcome.tasks)]
    pooled = pool_results(metric, lines, [task for outcome in outcomes for task in outcome.tasks])
    return Point(x, pooled.value, pooled.low, pooled.high, label)


def _chart_cost(metric: str, done: Sequence[FinishedCell]) -> Chart | None:
    """Return the chart of the metric against tokens per task; cells on the Pareto frontier are labelled and joined."""
    groups = _group_cells(done, [name for name in done[0][0].swept if name != SEED_OPTION])
    points = [
        _pool_outcomes(metric, sum(map(_count_tokens, outcomes)) / len(outcomes), outcomes, name)
        for name, outcomes in ((name, [outcome for _, outcome in pairs]) for name, pairs in groups.items())
    ]
    if not all(point.x > 0 for point in points):
        return None
    share = metric in PERCENT_METRICS
    title = f"{metric} by cost, 95 % intervals"
    return Chart(title, "tokens a task (policy and PRM)", metric, build_frontier(metric, points), share=share)


def _count_tokens(outcome: CellOutcome) -> float:
    return sum(_get_value(outcome, name) or 0.0 for name in TOKEN_METRICS)


def _get_value(outcome: CellOutcome, metric: str) -> float | None:
    return read_metrics(outcome.metrics).get(metric, {}).get("value")


def _has_intervals(metric: str, done: Sequence[FinishedCell]) -> bool:
    return any(read_metrics(outcome.metrics)[metric]["low"] is not None for _, outcome in done)
