"""Line charts with error bars in one style, drawn by matplotlib and written as SVG, PDF or PNG.

The same chart gives the same bytes: files contain no date, and identifiers in an SVG are drawn from a fixed salt.
matplotlib is imported when the first chart is drawn.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetool.runs.journal import atomic_write
from codetool.types import FigureFormat

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444")
"""Told apart by colour-blind readers (after Okabe and Ito 2008, Color Universal Design)."""
MARKERS = (("o", "-"), ("s", "--"), ("^", ":"), ("D", "-."))
"""Marker and dashes of the first lines, and of those after each round of colours."""
BAR_COLOUR = "#d4dbe3"
INCHES = (7.6, 4.4)
OFFSET = 3.5
"""Points (1/72 inch) between the error bars of two lines at the same place."""
LOG_RATIO = 8.0
"""An axis whose positive values span more than this is logarithmic."""
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, which can be searched and edited
    "svg.hashsalt": "codetool",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that charts are equal everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e4e4e4",
    "ytick.left": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class Point:
    """A value with its interval, at a place of the horizontal axis."""

    x: float
    y: float
    low: float | None
    high: float | None
    label: str = ""
    """Text beside the point."""


@dataclass(frozen=True)
class Line:
    """Points that belong together, in order; `joined` draws a line through them. Later lines lie above earlier ones."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    colour: str | None = None
    """None: the next of COLOURS."""
    dots: bool = True
    """False: the line alone."""


@dataclass(frozen=True)
class Bar:
    """A value over a stretch of the horizontal axis."""

    start: float
    end: float
    y: float


@dataclass(frozen=True)
class Chart:
    """What a chart says. `ticks` are the places named on the horizontal axis; None chooses them."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    share: bool = True
    """The vertical axis is a share, shown in percent."""
    ticks: Sequence[tuple[float, str]] | None = None
    bars: Sequence[Bar] = ()
    """They stand behind the lines, on 0."""
    bars_name: str = ""


def write_chart(chart: Chart, folder: Path, name: str, formats: Iterable[FigureFormat] = ("svg",)) -> list[Path]:
    """Write the chart as `folder/name.FORMAT` in each format, and return the files. Raises WriteError."""
    contents = {folder / f"{name}.{format_}": render(chart, format_) for format_ in formats}
    for path, content in contents.items():
        atomic_write(path, [content])
    return list(contents)


def render(chart: Chart, format_: FigureFormat = "svg") -> bytes:
    """Return the content of the chart's file in a format."""
    return render_figure(lambda: draw(chart), format_)


def render_figure(draw_figure: Callable[[], Figure], format_: FigureFormat = "svg") -> bytes:
    """Return the content of the file of a figure, which is drawn in the style of all charts."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of its caches, which no user has to know
    from matplotlib import rc_context

    metadata: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    content = io.BytesIO()
    with rc_context(STYLE):  # type: ignore[arg-type]
        draw_figure().savefig(content, format=format_, metadata=metadata[format_])
    return content.getvalue()


def draw(chart: Chart) -> Figure:
    """Return the chart as a figure of matplotlib; the style is that of `rc_context(STYLE)` around the call."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=chart.title, xlabel=chart.x_name, ylabel=chart.y_name)
    _scale_horizontally(axes, chart)
    for number, bar in enumerate(chart.bars):
        name = chart.bars_name if number == 0 else None
        axes.bar(bar.start, bar.y, bar.end - bar.start, align="edge", color=BAR_COLOUR, edgecolor="white", label=name)
    dodging = [line for line in chart.lines if line.joined and line.dots]
    for number, line in enumerate(chart.lines):
        shift = (dodging.index(line) - (len(dodging) - 1) / 2) * OFFSET if line in dodging else 0.0
        _draw_line(axes, line, number, shift)
    axes.autoscale_view()
    _scale_vertically(axes, chart)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper")
    return figure


def _draw_line(axes: Axes, line: Line, number: int, shift: float) -> None:
    """Draw a line, the `number`th of its chart.

    `shift` moves it to the right, in points (1/72 inch), so that its error bars do not cover those of other lines.
    """
    from matplotlib.transforms import ScaledTranslation

    figure, colour = axes.get_figure(root=True), line.colour or COLOURS[number % len(COLOURS)]
    marker, dashes = MARKERS[number // len(COLOURS) % len(MARKERS)]
    assert figure is not None
    place = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    axes.plot(
        [point.x for point in line.points],
        [point.y for point in line.points],
        linestyle=dashes if line.joined else "",
        marker=marker if line.dots else "",
        color=colour,
        label=line.name or None,
        transform=place,
        gid=f"line-{number}",  # of its group in an SVG
    )
    for point in line.points:
        bounds = [bound for bound in (point.low, point.y, point.high) if bound is not None]
        axes.update_datalim([(point.x, bound) for bound in bounds])  # it is not derived from moved lines
        if point.low is not None and point.high is not None:
            ends = [point.low, point.high]
            axes.plot([point.x] * 2, ends, marker="_", color=colour, alpha=0.65, linewidth=1, transform=place)
        if point.label:
            text = axes.annotate(point.label, (point.x, point.y), (6, 5), textcoords="offset points", color=colour)
            text.set(fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8})


def _scale_horizontally(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    values = [point.x for line in chart.lines for point in line.points]
    values += [x for bar in chart.bars for x in (bar.start, bar.end)]
    if values and min(values) > 0 and max(values) / min(values) > LOG_RATIO:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    if chart.ticks is not None:
        axes.xaxis.set_major_locator(FixedLocator([value for value, _ in chart.ticks]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda _, number: chart.ticks[number][1]))  # type: ignore[index]


def _scale_vertically(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_axis_value(value, chart.share)))
    if chart.share:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.02), min(high, 1.02))


def format_axis_value(value: float, share: bool) -> str:
    """Return a value as an axis names it: a share in percent, another with commas between thousands."""
    return f"{100 * value:.4g} %" if share else f"{value:,g}"
