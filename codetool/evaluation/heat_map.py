"""A heat map in the style of `charts`: a value for each pair of two options' values, written into its cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codetool.evaluation.charts import format_axis_value
from codetool.evaluation.metric_format import format_percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR_MAP = "cividis"
"""Even in brightness, and told apart by colour-blind readers."""
CELL_INCHES, FRAME_INCHES = (1.15, 0.6), (2.6, 1.3)
MIN_WIDTH_INCHES = 7.6


@dataclass(frozen=True)
class HeatMap:
    """What a heat map says."""

    title: str
    x_name: str
    x_values: Sequence[str]
    y_name: str
    y_values: Sequence[str]
    values: Mapping[tuple[str, str], float]
    """Value by x and y; a pair that is not there stays empty."""
    notes: Mapping[tuple[str, str], str]
    """Text below the value, such as its interval."""
    value_name: str = ""
    share: bool = True
    """The values are shares, shown in percent."""


def draw_heat_map(chart: HeatMap) -> Figure:
    """Return the heat map as a figure of matplotlib; the style is that of `rc_context(STYLE)` around the call."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    width, height = (
        inches * len(values) + frame
        for inches, values, frame in zip(CELL_INCHES, (chart.x_values, chart.y_values), FRAME_INCHES, strict=True)
    )
    figure = Figure(figsize=(max(width, MIN_WIDTH_INCHES), height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=chart.title, xlabel=chart.x_name, ylabel=chart.y_name)
    axes.grid(visible=False)
    rows = [[chart.values.get((x, y), float("nan")) for x in chart.x_values] for y in chart.y_values]
    image = axes.imshow(rows, cmap=COLOUR_MAP, aspect="auto", origin="lower")
    axes.set_xticks(range(len(chart.x_values)), chart.x_values)
    axes.set_yticks(range(len(chart.y_values)), chart.y_values)
    for row, y in enumerate(chart.y_values):
        for column, x in enumerate(chart.x_values):
            if (value := chart.values.get((x, y))) is not None:
                red, green, blue, _ = image.to_rgba(np.array([value]))[0]
                colour = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
                shown = format_percent(value) if chart.share else f"{value:,.4g}"
                text = "\n".join(filter(None, [shown, chart.notes.get((x, y))]))
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    bar = figure.colorbar(image, ax=axes, label=chart.value_name)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_axis_value(value, chart.share)))
    return figure
