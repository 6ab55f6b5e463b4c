"""Horizontal bars with intervals, in the style of `charts`: a group of bars for each name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codetool.evaluation.charts import COLOURS, format_axis_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUP_INCHES, BAR_INCHES, FRAME_INCHES = 0.16, 0.24, 1.1
WIDTH_INCHES = 7.6
LEGEND_CHARS, LEGEND_MARK_CHARS = 110, 8
"""Characters in a row of the legend, and those that a colour takes of them."""
BAR_SHARE = 0.8
"""Share of its place that a group's bars take; the rest separates it from the next."""


@dataclass(frozen=True)
class IntervalBar:
    """A bar. Bars of one legend entry have one colour."""

    legend: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class BarChart:
    """What a bar chart says; groups stand from top to bottom."""

    title: str
    x_name: str
    groups: Sequence[tuple[str, Sequence[IntervalBar]]]
    share: bool = True
    """The values are shares, shown in percent."""


def draw_bars(chart: BarChart) -> Figure:
    """Return the chart as a figure of matplotlib; the style is that of `rc_context(STYLE)` around the call."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    legends = list(dict.fromkeys(bar.legend for _, bars in chart.groups for bar in bars))
    count = sum(len(bars) for _, bars in chart.groups)
    height = FRAME_INCHES + GROUP_INCHES * len(chart.groups) + BAR_INCHES * count
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=chart.title, xlabel=chart.x_name)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    _draw_groups(axes, chart, legends)
    axes.set_yticks(range(len(chart.groups)), [name for name, _ in chart.groups])
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_axis_value(value, chart.share)))
    if len(legends) > 1:
        columns = LEGEND_CHARS // (max(map(len, legends)) + LEGEND_MARK_CHARS)
        figure.legend(loc="outside lower center", ncols=max(1, min(len(legends), columns)))
    return figure


def _draw_groups(axes: Axes, chart: BarChart, legends: Sequence[str]) -> None:
    """Draw all bars, a row for each group; the first bar of a legend entry carries it."""
    named: set[str] = set()
    for row, (_, bars) in enumerate(chart.groups):
        thickness = BAR_SHARE / len(bars)
        for number, bar in enumerate(bars):
            y = row + (number - (len(bars) - 1) / 2) * thickness
            colour = COLOURS[legends.index(bar.legend) % len(COLOURS)]
            legend = bar.legend if bar.legend not in named else None
            named.add(bar.legend)
            axes.barh(y, bar.value, thickness * 0.9, color=colour, alpha=0.75, label=legend)
            if bar.low is not None and bar.high is not None:
                axes.plot([bar.low, bar.high], [y, y], marker="|", color="#222222", linewidth=1)
