"""Line charts with error bars, as SVG text: no plotting library is loaded for a few axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#444444")
"""Told apart by colour-blind readers (after Okabe and Ito 2008, Color Universal Design)."""
WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 220, 44, 56
"""Pixels round the plot; the legend stands to its right."""
OFFSET = 5.0
"""Pixels between the error bars of two lines at the same place."""
BARS = "#d4dbe3"
OUTLINE = 'stroke="#fff" stroke-width="3" paint-order="stroke"'
"""Keeps text legible on lines."""
LOG_RATIO = 8.0
"""An axis whose positive values span more than this is logarithmic."""


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


def render_svg(chart: Chart) -> str:
    """The chart as a file of its own."""
    points = [point for line in chart.lines for point in line.points]
    across, up = _across(chart, points), _up(chart, points)
    dodging = [line for line in chart.lines if line.joined and line.dots]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 24, chart.title, 'font-size="14" font-weight="bold"'),
        *_vertical_axis(chart, up),
        *_bars(chart, across, up),
        *_horizontal_axis(chart, across),
    ]
    for number, line in enumerate(chart.lines):
        shift = (dodging.index(line) - (len(dodging) - 1) / 2) * OFFSET if line in dodging else 0.0
        colour = line.colour or COLOURS[number % len(COLOURS)]
        parts += _line(line, colour, shift, across, up)
        parts += _legend(line, colour, number) if line.name else []
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class Scale:
    """From values to pixels, with the values to be named."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def _across(chart: Chart, points: Sequence[Point]) -> Scale:
    values = [*(point.x for point in points), *(x for bar in chart.bars for x in (bar.start, bar.end))] or [0.0]
    low, high = min(values), max(values)
    log = low > 0 and high / low > LOG_RATIO
    room = (high / low) ** 0.06 if log else (high - low or 1.0) * 0.08
    low, high = (low / room, high * room) if log else (low - room, high + room)
    ticks = chart.ticks if chart.ticks is not None else [(v, f"{v:,g}") for v in _round_values(low, high, log)]
    return Scale(low, high, LEFT, WIDTH - RIGHT, ticks, log)


def _up(chart: Chart, points: Sequence[Point]) -> Scale:
    bounds = [b for point in points for b in (point.low, point.high, point.y) if b is not None]
    bounds = [*bounds, *(b for bar in chart.bars for b in (0.0, bar.y))] or [0.0, 1.0]
    low, high = min(bounds), max(bounds)
    room = (high - low or 0.1) * 0.06
    low, high = low - room, high + room
    if chart.share:
        low, high = (max(low, -0.02), min(high, 1.02))
    ticks = [(v, f"{100 * v:g} %" if chart.share else f"{v:,g}") for v in _round_values(low, high, False)]
    return Scale(low, high, HEIGHT - BOTTOM, TOP, ticks)


def _round_values(low: float, high: float, log: bool) -> list[float]:
    """About five round values within the bounds."""
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        return [value for value in values if low <= value <= high]
    rough = (high - low) / 5.3  # the whole of a share, with its margins, in steps of 20 %
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def _vertical_axis(chart: Chart, up: Scale) -> Iterator[str]:
    for value, name in up.ticks:
        y = up(value)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>'
        yield _text(LEFT - 8, y + 4, name, 'text-anchor="end"')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield _text(18, middle, chart.y_name, f'text-anchor="middle" transform="rotate(-90 18 {middle})"')


def _horizontal_axis(chart: Chart, across: Scale) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    yield f'<path d="M{LEFT} {bottom}H{WIDTH - RIGHT}" stroke="#444"/>'
    for value, name in across.ticks:
        x = across(value)
        yield f'<path d="M{x:.1f} {bottom}v5" stroke="#444"/>'
        yield _text(x, bottom + 19, name, 'text-anchor="middle"')
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, chart.x_name, 'text-anchor="middle"')


def _bars(chart: Chart, across: Scale, up: Scale) -> Iterator[str]:
    for bar in chart.bars:
        x, y, width = across(bar.start), up(bar.y), across(bar.end) - across(bar.start)
        yield f'<rect x="{x + 0.5:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{up(0.0) - y:.1f}" fill="{BARS}"/>'
    if chart.bars_name:
        x, y = WIDTH - RIGHT + 16, TOP + 8 + 18 * len(chart.lines)
        yield f'<rect x="{x}" y="{y - 5}" width="18" height="10" fill="{BARS}"/>'
        yield _text(x + 26, y + 4, chart.bars_name)


def _line(line: Line, colour: str, shift: float, across: Scale, up: Scale) -> Iterator[str]:
    places = [(across(point.x) + shift, up(point.y), point) for point in line.points]
    if line.joined and len(places) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    for x, y, point in places:
        if point.low is not None and point.high is not None:
            top, bottom = up(point.high), up(point.low)
            yield f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}M{x - 3:.1f} {top:.1f}h6M{x - 3:.1f} {bottom:.1f}h6"' + (
                f' stroke="{colour}" stroke-width="1.2" opacity="0.65"/>'
            )
        if line.dots:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>'
        if point.label:
            yield _text(x + 7, y - 6, point.label, f'fill="{colour}" font-size="11" {OUTLINE}')


def _legend(line: Line, colour: str, number: int) -> Iterator[str]:
    x, y = WIDTH - RIGHT + 16, TOP + 8 + 18 * number
    if line.joined:
        yield f'<path d="M{x} {y}h18" stroke="{colour}" stroke-width="1.8"/>'
    if line.dots:
        yield f'<circle cx="{x + 9}" cy="{y}" r="3.6" fill="{colour}"/>'
    yield _text(x + 26, y + 4, line.name)


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'
