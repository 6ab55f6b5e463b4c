"""Charts are read back as the SVG that a browser reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from codetool.evaluation.charts import Bar, Chart, Line, Point, render_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*points: Point, joined: bool = True, share: bool = True) -> ElementTree.Element:
    chart = Chart("a < b", "width", "success", [Line("beam & more", points, joined)], share=share)
    return ElementTree.fromstring(render_svg(chart))


def dots(root: ElementTree.Element) -> list[tuple[float, float]]:
    """The points' places in pixels; the last circle is the legend's."""
    circles = [(float(node.attrib["cx"]), float(node.attrib["cy"])) for node in root.iter(f"{SVG}circle")]
    return circles[:-1]


def texts(root: ElementTree.Element) -> list[str | None]:
    return [node.text for node in root.iter(f"{SVG}text")]


def test_greater_values_lie_further_up_and_to_the_right() -> None:
    (x1, y1), (x2, y2) = dots(drawn(Point(1, 0.2, None, None), Point(2, 0.6, None, None)))
    assert x1 < x2 and y1 > y2


def test_error_bars_span_the_interval() -> None:
    root = drawn(Point(1, 0.5, 0.4, 0.7), Point(2, 0.7, 0.4, 0.7))
    bars = [node.attrib["d"] for node in root.iter(f"{SVG}path") if node.attrib.get("opacity")]
    (_, middle), (_, top) = dots(root)
    high, low = map(float, re.findall(r"[\d.]+ ([\d.]+)V([\d.]+)", bars[0])[0])
    assert abs(high - top) < 0.2 and low > middle > high


def test_a_wide_range_is_logarithmic() -> None:
    points = [Point(x, 0.5, None, None) for x in (10.0, 100.0, 1000.0)]
    places = [x for x, _ in dots(drawn(*points))]
    assert abs((places[1] - places[0]) - (places[2] - places[1])) < 0.5


def test_names_are_escaped_and_shares_are_percentages() -> None:
    words = texts(drawn(Point(1, 0.2, None, None), Point(2, 0.6, None, None)))
    assert {"a < b", "beam & more", "width", "success", "40 %"} <= set(words)


def test_one_point_and_none_are_charts_too() -> None:
    assert len(dots(drawn(Point(1, 0.0, None, None)))) == 1
    assert dots(drawn()) == []


def test_bars_stand_on_zero_behind_a_line_without_dots() -> None:
    diagonal = Line("even", [Point(0, 0, None, None), Point(1, 1, None, None)], dots=False)
    root = ElementTree.fromstring(
        render_svg(Chart("t", "x", "y", [diagonal], bars=[Bar(0, 0.5, 0.2), Bar(0.5, 1, 0.8)], bars_name="share"))
    )
    _, low, high, legend = root.iter(f"{SVG}rect")
    (y1, h1), (y2, h2) = ((float(bar.attrib["y"]), float(bar.attrib["height"])) for bar in (low, high))
    assert abs((y1 + h1) - (y2 + h2)) < 0.2 and 3.9 < h2 / h1 < 4.1
    assert float(low.attrib["x"]) + float(low.attrib["width"]) < float(high.attrib["x"])
    assert not list(root.iter(f"{SVG}circle")) and "share" in texts(root) and legend.attrib["width"] == "18"
    assert list(root).index(low) < next(place for place, node in enumerate(root) if "1.8" in node.attrib.values())
