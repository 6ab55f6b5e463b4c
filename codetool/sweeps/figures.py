"""Draw the figures of a sweep: the compared metric along each swept option, and against its cost.

The figure of an option has a line for each combination of the other options or, if there are too many combinations,
one line for their average. Seeds are repetitions: results that share a point are averaged within each task before tasks
are resampled for the interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from codetool.evaluation.charts import COLOURS, LOG_RATIO, Chart, Line, Point, write_chart
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.result_files import RESULTS
from codetool.evaluation.summary import summarize_results
from codetool.sweeps.cell import CellOutcome
from codetool.sweeps.grid import GridCell
from codetool.sweeps.metric_choice import PERCENT_METRICS, choose_headline, read_metrics
from codetool.types import FigureFormat

SEED_OPTION = "seed"
TOKEN_METRICS = ("tokens_in", "tokens_out", "prm_tokens")
GREY = "#999999"
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
        position = _position_values(values)
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
    groups: dict[tuple[str, ...], list[FinishedCell]] = {}
    for cell, outcome in done:
        groups.setdefault(tuple(cell.swept[name] for name in names), []).append((cell, outcome))
    last = [name.split(".")[-1] for name in names]
    texts = [" ".join(f"{name}={value}" for name, value in zip(last, key, strict=True)) for key in groups]
    return dict(zip(_shorten_legends(texts), groups.values(), strict=True))


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


def _position_values(values: Sequence[str]) -> dict[str, float]:
    """Return the position of each value on the axis: its number if the labels have room, else its index."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        return {value: float(position) for position, value in enumerate(values)}
    ordered = sorted(numbers.values())
    span = ordered[-1] - ordered[0]
    gaps = [later - earlier for earlier, later in zip(ordered, ordered[1:], strict=False)]
    even = span > 0 and min(gaps) >= span / 12
    log = ordered[0] > 0 and ordered[-1] / ordered[0] > LOG_RATIO
    return numbers if even or log else {v: float(ordered.index(n)) for v, n in numbers.items()}


def _build_points(
    metric: str, axis: str, position: Mapping[str, float], pairs: Sequence[FinishedCell]
) -> Iterator[Point]:
    by_value: dict[str, list[CellOutcome]] = {}
    for cell, outcome in pairs:
        by_value.setdefault(cell.swept[axis], []).append(outcome)
    for value, outcomes in by_value.items():
        yield _pool_outcomes(metric, position[value], outcomes)


def _pool_outcomes(metric: str, x: float, outcomes: Sequence[CellOutcome], label: str = "") -> Point:
    """Return the metric over the outcomes; if there are several, they are averaged within each task first."""
    measured = [read_metrics(outcome.metrics)[metric] for outcome in outcomes]
    if len(outcomes) == 1:
        return Point(x, measured[0]["value"] or 0.0, measured[0]["low"], measured[0]["high"], label)
    if not all((Path(str(outcome.folder)) / RESULTS).is_file() for outcome in outcomes):
        return Point(x, sum(each["value"] or 0.0 for each in measured) / len(measured), None, None, label)
    lines = [
        line | {"metrics": {metric: line["metrics"].get(metric)}}
        for outcome in outcomes
        for line in load_result_lines(Path(str(outcome.folder)), outcome.tasks)
    ]
    asked = [task for outcome in outcomes for task in outcome.tasks]
    pooled = summarize_results(lines, len(asked), seed=0, templates={task: task for task in asked}).metrics[metric]
    value = pooled["value"]
    assert value is not None  # each of the outcomes has one
    return Point(
        x, value, pooled["template_low"], pooled["template_high"], label
    )  # each task is its own template above, so these bounds resample tasks


def _chart_cost(metric: str, done: Sequence[FinishedCell]) -> Chart | None:
    """Return the chart of the metric against tokens per task; cells on the Pareto frontier are labelled and joined."""
    groups = _group_cells(done, [name for name in done[0][0].swept if name != SEED_OPTION])
    points = [
        _pool_outcomes(metric, sum(map(_count_tokens, outcomes)) / len(outcomes), outcomes, name)
        for name, outcomes in ((name, [outcome for _, outcome in pairs]) for name, pairs in groups.items())
    ]
    points.sort(key=lambda point: (point.x, -point.y))
    if not all(point.x > 0 for point in points):
        return None
    best = [point for position, point in enumerate(points) if all(point.y > before.y for before in points[:position])]
    rest = [Point(point.x, point.y, point.low, point.high) for point in points if point not in best]
    lines = [*([Line("other cells", rest, joined=False, colour=GREY)] if rest else []), Line("best at its cost", best)]
    share = metric in PERCENT_METRICS
    return Chart(f"{metric} by cost, 95 % intervals", "tokens a task (policy and PRM)", metric, lines, share=share)


def _count_tokens(outcome: CellOutcome) -> float:
    return sum(_get_value(outcome, name) or 0.0 for name in TOKEN_METRICS)


def _get_value(outcome: CellOutcome, metric: str) -> float | None:
    return read_metrics(outcome.metrics).get(metric, {}).get("value")


def _has_intervals(metric: str, done: Sequence[FinishedCell]) -> bool:
    return any(read_metrics(outcome.metrics)[metric]["low"] is not None for _, outcome in done)
