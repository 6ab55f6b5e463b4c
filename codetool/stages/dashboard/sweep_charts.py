"""Draw the figures of a sweep's dashboard: the compared metric along the swept options, and against its costs.

Cells that differ only in other options than a figure shows are averaged. Seeds are repetitions and never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from codetool.evaluation.bar_chart import BarChart, IntervalBar
from codetool.evaluation.cell_groups import (
    SEED_OPTION,
    Estimate,
    build_frontier,
    describe_options,
    group_by_options,
    pool_results,
    position_values,
    rank_value,
)
from codetool.evaluation.charts import COLOURS, Chart, Line, Point
from codetool.evaluation.heat_map import HeatMap
from codetool.evaluation.metric_choice import PERCENT_METRICS
from codetool.evaluation.metric_format import format_metric
from codetool.evaluation.metrics import is_share
from codetool.stages.dashboard.sweep_results import Cell, SweepResults

AnyChart = Chart | HeatMap | BarChart
PREFERRED = ("width", "n", "depth")
"""Last parts of the options that heat maps show first."""
MAX_HEAT_MAPS = 3
MAX_BARS = 24
AVERAGED = "all other options averaged"


@dataclass(frozen=True)
class Cost:
    """A cost of a task, a horizontal axis of the figures of the metric against its cost."""

    key: str
    x_name: str

    def measure(self, cell: Cell) -> float | None:
        """Return the cell's mean cost of a task; None if unknown."""
        return cell.tokens if self.key == "tokens" else self._read(cell)

    def _read(self, cell: Cell) -> float | None:
        return cell.metrics[self.key].value if self.key in cell.metrics else None


COSTS = (
    Cost("tokens", "tokens of policy and PRM for a task"),
    Cost("seconds", "seconds for a task"),
    Cost("usd", "USD for a task"),
)


def draw_lines(sweep: SweepResults) -> Iterator[tuple[str, Chart]]:
    """Yield a chart of the metric along each swept number, with a line for each combination of the other options."""
    for axis in filter(lambda name: are_numbers(sweep, name), sweep.list_varied()):
        others = [name for name in sweep.list_varied() if name != axis]
        groups = _group_cells(sweep.measured, others)
        lines = {describe_options(key, others): cells for key, cells in groups.items()}
        if len(lines) > len(COLOURS):
            lines = {AVERAGED: list(sweep.measured)}
        position = position_values(_list_values(sweep, axis))
        chart_lines = [
            Line(name, sorted(_build_points(sweep.metric, axis, position, cells), key=lambda point: point.x))
            for name, cells in lines.items()
        ]
        title = f"{sweep.metric} by {axis}, 95 % intervals over tasks"
        ticks = [(x, value) for value, x in position.items()]
        yield f"by-{_name_file(axis)}", Chart(title, axis, sweep.metric, chart_lines, _is_share(sweep), ticks)


def _build_points(metric: str, axis: str, position: Mapping[str, float], cells: Sequence[Cell]) -> Iterator[Point]:
    for (value,), group in _group_cells(cells, [axis]).items():
        estimate = pool_cells(metric, group)
        yield Point(position[value], estimate.value, estimate.low, estimate.high)


def draw_heat_maps(sweep: SweepResults) -> Iterator[tuple[str, HeatMap]]:
    """Yield a heat map for each pair of options, those of search.width, search.n and search.depth first."""
    options = sorted(sweep.list_varied(), key=lambda name: name.split(".")[-1] not in PREFERRED)
    for y_name, x_name in list(combinations(options, 2))[:MAX_HEAT_MAPS]:
        groups = _group_cells(sweep.measured, [x_name, y_name])
        pooled = {(x, y): pool_cells(sweep.metric, cells) for (x, y), cells in groups.items()}
        heat_map = HeatMap(
            f"{sweep.metric} by {x_name} and {y_name}" + (", averaged over the rest" if len(options) > 2 else ""),
            x_name,
            _list_values(sweep, x_name),
            y_name,
            _list_values(sweep, y_name),
            {pair: estimate.value for pair, estimate in pooled.items()},
            {pair: describe_interval(sweep.metric, estimate) for pair, estimate in pooled.items()},
            sweep.metric,
            _is_share(sweep),
        )
        yield f"heat-map-{_name_file(y_name)}-{_name_file(x_name)}", heat_map


def draw_costs(sweep: SweepResults) -> Iterator[tuple[str, Chart]]:
    """Yield a chart of the metric against each known cost; cells on the Pareto frontier are labelled and joined."""
    for cost in COSTS:
        groups = _group_cells(sweep.measured, sweep.list_varied()).values()
        points = [point for cells in groups if (point := _place_by_cost(sweep.metric, cost, cells)) is not None]
        if len(points) < 2:
            continue
        lines = build_frontier(sweep.metric, points)
        title = f"{sweep.metric} by {cost.key}, 95 % intervals over tasks"
        yield f"cost-{cost.key}", Chart(title, cost.x_name, sweep.metric, lines, _is_share(sweep))


def _place_by_cost(metric: str, cost: Cost, cells: Sequence[Cell]) -> Point | None:
    amounts = [amount for cell in cells if (amount := cost.measure(cell))]
    if len(amounts) < len(cells):
        return None
    estimate = pool_cells(metric, cells)
    return Point(sum(amounts) / len(amounts), estimate.value, estimate.low, estimate.high, _label_cells(cells))


def draw_ablation(sweep: SweepResults) -> Iterator[tuple[str, BarChart]]:
    """Yield bars of the metric for the values of each swept word, or of every cell if only numbers are swept."""
    words = [name for name in sweep.list_varied() if not are_numbers(sweep, name)]
    for name in words:
        groups = _group_cells(sweep.measured, [name])
        bars = [(value, [_build_bar(sweep.metric, cells)]) for (value,), cells in groups.items()]
        rest = ", averaged over the rest" if len(sweep.list_varied()) > 1 else ""
        title = f"{sweep.metric} by {name}{rest}, 95 % intervals over tasks"
        yield f"ablation-{_name_file(name)}", BarChart(title, sweep.metric, bars, _is_share(sweep))
    cells = _group_cells(sweep.measured, sweep.list_varied())
    if len(words) != 1 or len(sweep.list_varied()) > 1:
        bars = [(_label_cells(group), [_build_bar(sweep.metric, group)]) for group in cells.values()]
        bars.sort(key=lambda bar: -rank_value(sweep.metric, bar[1][0].value))
        title = f"{sweep.metric} of the {'best ' if len(bars) > MAX_BARS else ''}cells, 95 % intervals over tasks"
        yield "ablation-cells", BarChart(title, sweep.metric, bars[:MAX_BARS], _is_share(sweep))


def _build_bar(metric: str, cells: Sequence[Cell]) -> IntervalBar:
    estimate = pool_cells(metric, cells)
    return IntervalBar("", estimate.value, estimate.low, estimate.high)


def pool_cells(metric: str, cells: Sequence[Cell]) -> Estimate:
    """Return the metric over all cells. Several are averaged within each task, before tasks are resampled.

    The interval is unknown if a cell's run folder is gone.
    """
    if len(cells) == 1:
        return cells[0].metrics[metric]
    if not all(cell.lines for cell in cells):
        return Estimate(sum(cell.metrics[metric].value for cell in cells) / len(cells))
    lines = [line for cell in cells for line in cell.lines]
    return pool_results(metric, lines, [str(line["task_id"]) for line in lines])


def describe_interval(metric: str, estimate: Estimate) -> str:
    """Return the interval as text; empty if it is unknown."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (format_metric(metric, bound, decimals=3) for bound in (estimate.low, estimate.high))
    return f"{low.removesuffix(' %')} – {high}"


def _group_cells(cells: Sequence[Cell], names: Sequence[str]) -> dict[tuple[str, ...], list[Cell]]:
    """Group the cells by their values of these options."""
    return group_by_options(cells, names, lambda cell: cell.options)


def _label_cells(cells: Sequence[Cell]) -> str:
    """Return what names cells that differ in their seeds alone."""
    options = {name: value for name, value in cells[0].options.items() if name != SEED_OPTION}
    return describe_options(tuple(options.values()), list(options))


def _list_values(sweep: SweepResults, name: str) -> list[str]:
    """Return the values of an option: numbers ascending, words in the sweep's order."""
    values = list(dict.fromkeys(cell.options[name] for cell in sweep.measured))
    return sorted(values, key=float) if are_numbers(sweep, name) else values


def are_numbers(sweep: SweepResults, name: str) -> bool:
    """Return whether all values of a swept option are numbers."""
    try:
        return all(abs(float(cell.options[name])) < float("inf") for cell in sweep.measured)
    except ValueError:
        return False


def _is_share(sweep: SweepResults) -> bool:
    return sweep.metric in PERCENT_METRICS or is_share(sweep.metric)


def _name_file(option: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in option)
