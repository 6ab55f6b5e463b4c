"""Figure of a study: success of each cell against the tokens of policy and PRM, with the study's curves as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equal_compute import COST
from study import Study

from codetool.evaluation.charts import Chart, Line, Point


def build_chart(content: Mapping[str, Any], study: Study) -> Chart:
    """Return the chart of a study's results; cells without any task are left out, others have a line of their own."""
    points = {name: _build_point(name, cell) for name, cell in content["cells"].items() if cell["success"]["all"]}
    on_curves = {name for names in study.curves.values() for name in names}
    lines = [
        Line(curve, [points[name] for name in names if name in points])
        for curve, names in study.curves.items()
        if any(name in points for name in names)
    ]
    lines += [
        Line(name.replace("_", " "), [point], joined=False) for name, point in points.items() if name not in on_curves
    ]
    tasks = content["tasks"]["all"]["tasks"]
    title = f"{tasks} tasks of {content['split']}, seeds {', '.join(map(str, content['seeds']))}"
    return Chart(title, "tokens of policy and PRM, a task", "success", lines)


def _build_point(name: str, cell: Mapping[str, Any]) -> Point:
    success, tokens = cell["success"]["all"], cell[COST]["all"]
    low, high = success["interval"] or (None, None)
    return Point(tokens["value"], success["value"], low, high)
