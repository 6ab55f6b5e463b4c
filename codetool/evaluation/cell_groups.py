"""Group the cells of a sweep by their options, pool the results of a group, and find the best cells at their cost.

Seeds are repetitions: results that share a point are averaged within each task before tasks are resampled for the
interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from codetool.evaluation.charts import LOG_RATIO, Line, Point
from codetool.evaluation.metric_choice import MINIMIZED_METRICS
from codetool.evaluation.summary import summarize_results

SEED_OPTION = "seed"
GREY = "#999999"

CellT = TypeVar("CellT")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, None if the interval is unknown."""

    value: float
    low: float | None = None
    high: float | None = None


def group_by_options(
    cells: Iterable[CellT], names: Sequence[str], get_options: Callable[[CellT], Mapping[str, str]]
) -> dict[tuple[str, ...], list[CellT]]:
    """Group the cells by their values of these options; `get_options` returns the swept options of a cell."""
    groups: dict[tuple[str, ...], list[CellT]] = {}
    for cell in cells:
        options = get_options(cell)
        groups.setdefault(tuple(options[name] for name in names), []).append(cell)
    return groups


def describe_options(values: Sequence[str], names: Sequence[str]) -> str:
    """Return options by the last part of their names, such as `width=2 n=4`."""
    return " ".join(f"{name.split('.')[-1]}={value}" for name, value in zip(names, values, strict=True))


def position_values(values: Sequence[str]) -> dict[str, float]:
    """Return the position of each value on an axis: its number if the labels have room, else its index."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        return {value: float(position) for position, value in enumerate(values)}
    ordered = sorted(numbers.values())
    span = ordered[-1] - ordered[0]
    gaps = [later - earlier for earlier, later in zip(ordered, ordered[1:], strict=False)]
    even = span > 0 and min(gaps) >= span / 12
    log = ordered[0] > 0 and ordered[-1] / ordered[0] > LOG_RATIO
    return numbers if even or log else {value: float(ordered.index(number)) for value, number in numbers.items()}


def pool_results(metric: str, lines: Iterable[Mapping[str, Any]], tasks: Sequence[str]) -> Estimate:
    """Return the metric over the result lines of several runs, averaged within each task first.

    `tasks` are the ids of the tasks that were asked for, once for each run.
    """
    measured = [line | {"metrics": {metric: line["metrics"].get(metric)}} for line in map(dict, lines)]
    pooled = summarize_results(measured, len(tasks), seed=0, templates={task: task for task in tasks}).metrics[metric]
    value = pooled["value"]
    assert value is not None  # each of the runs has one
    # each task is its own template above, so these bounds resample tasks
    return Estimate(value, pooled["template_low"], pooled["template_high"])


def build_frontier(metric: str, points: Iterable[Point]) -> list[Line]:
    """Return the line of the points that no cheaper one reaches, and before it the dots of the others, unlabelled."""
    points = sorted(points, key=lambda point: (point.x, -rank_value(metric, point.y)))
    ranks = [rank_value(metric, point.y) for point in points]
    best = [point for place, point in enumerate(points) if all(ranks[place] > rank for rank in ranks[:place])]
    others = [replace(point, label="") for point in points if point not in best]
    lines = [Line("other cells", others, joined=False, colour=GREY)] if others else []
    return [*lines, Line("best at its cost", best)]


def rank_value(metric: str, value: float) -> float:
    """Return a number that is the higher the better the value of the metric is."""
    return -value if metric in MINIMIZED_METRICS else value
