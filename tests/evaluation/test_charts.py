"""Charts are read back as matplotlib's figures, and as the SVG that a browser reads."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from codetool.evaluation.charts import Bar, Chart, Line, Point, draw, render

SVG = "{http://www.w3.org/2000/svg}"


def chart(*points: Point, joined: bool = True, share: bool = True, **more: Any) -> Chart:
    return Chart("a < b", "width", "success", [Line("beam & more", points, joined)], share=share, **more)


def dots(drawn: Chart, line: int = 0) -> list[tuple[float, float]]:
    """Places of the points of a line in an SVG, whose vertical axis runs downwards."""
    root = ElementTree.fromstring(render(drawn))
    [group] = [node for node in root.iter(f"{SVG}g") if node.attrib.get("id") == f"line-{line}"]
    return [(float(node.attrib["x"]), float(node.attrib["y"])) for node in group.iter(f"{SVG}use")]


def texts(drawn: Chart) -> set[str]:
    return {node.text or "" for node in ElementTree.fromstring(render(drawn)).iter(f"{SVG}text")}


def test_greater_values_lie_further_up_and_to_the_right() -> None:
    (x1, y1), (x2, y2) = dots(chart(Point(1, 0.2, None, None), Point(2, 0.6, None, None)))
    assert x1 < x2 and y1 > y2


def test_error_bars_span_the_interval() -> None:
    [axes] = draw(chart(Point(1, 0.5, 0.4, 0.7), Point(2, 0.6, None, None))).axes
    line, bar = axes.lines
    assert list(line.get_ydata()) == [0.5, 0.6] and list(bar.get_ydata()) == [0.4, 0.7]
    low, high = axes.get_ylim()
    assert low < 0.4 and 0.7 < high < 1


def test_lines_at_the_same_place_stand_side_by_side() -> None:
    lines = [Line(name, [Point(1, 0.5, 0.4, 0.6), Point(2, 0.5, 0.4, 0.6)]) for name in "ab"]
    drawn = Chart("t", "x", "y", lines)
    assert dots(drawn, 0)[0][0] < dots(drawn, 1)[0][0] and dots(drawn, 0)[0][1] == dots(drawn, 1)[0][1]


def test_lines_of_one_colour_differ_in_marker_and_dashes() -> None:
    lines = [Line(str(n), [Point(n, 0.5, None, None), Point(n + 1, 0.6, None, None)]) for n in range(20)]
    [axes] = draw(Chart("many", "n", "success", lines)).axes
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == len(lines)


def test_a_wide_range_is_logarithmic() -> None:
    places = [x for x, _ in dots(chart(*(Point(x, 0.5, None, None) for x in (10.0, 100.0, 1000.0))))]
    assert abs((places[1] - places[0]) - (places[2] - places[1])) < 0.5


def test_names_are_escaped_and_shares_are_percentages() -> None:
    words = texts(chart(Point(1, 0.2, None, None), Point(2, 0.6, None, None)))
    assert {"a < b", "beam & more", "width", "success", "40 %"} <= words


def test_a_value_that_is_no_share_is_a_number() -> None:
    words = texts(chart(Point(1, 1000.0, None, None), Point(2, 2000.0, None, None), share=False))
    assert "2,000" in words and not any("%" in word for word in words)


def test_ticks_have_their_names_and_points_their_labels() -> None:
    points = (Point(0, 0.2, None, None), Point(1, 0.6, None, None, "best"))
    assert {"beam", "greedy", "best"} <= texts(chart(*points, ticks=[(0, "beam"), (1, "greedy")]))


def test_one_point_and_none_are_charts_too() -> None:
    assert len(dots(chart(Point(1, 0.0, None, None)))) == 1
    assert dots(chart()) == []


def test_bars_stand_on_zero_behind_a_line_without_dots() -> None:
    diagonal = Line("even", [Point(0, 0, None, None), Point(1, 1, None, None)], dots=False)
    drawn = Chart("t", "x", "y", [diagonal], bars=[Bar(0, 0.5, 0.2), Bar(0.5, 1, 0.8)], bars_name="share")
    [axes] = draw(drawn).axes
    assert [bar.get_bbox().bounds for bar in axes.patches] == [(0, 0, 0.5, 0.2), (0.5, 0, 0.5, 0.8)]
    assert axes.patches[0].zorder < axes.lines[0].zorder and dots(drawn) == []
    assert {"even", "share"} <= texts(drawn)


@pytest.mark.parametrize(("format_", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_equal_charts_are_equal_files_in_each_format(format_: Any, start: bytes) -> None:
    one, other = (render(chart(Point(1, 0.5, 0.4, 0.7)), format_) for _ in range(2))
    assert one == other and one.startswith(start)
