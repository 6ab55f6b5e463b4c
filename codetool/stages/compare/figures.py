"""Figures of a comparison: differences with intervals, the metric against its cost, and differences by difficulty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from codetool.evaluation.bar_chart import BarChart, IntervalBar
from codetool.evaluation.charts import Chart, Line, Point
from codetool.evaluation.metrics import is_share
from codetool.evaluation.paired_comparison import PairedDifference
from codetool.evaluation.result_files import natural_sort_key
from codetool.stages.compare.comparison import GOLD_CALLS, SOLVED_SHARE, Comparison

MAX_LABEL_CHARS = 32
MAX_COMPARED = 12
"""Maximum number of systems in a figure of differences by difficulty."""

AnyChart = Chart | BarChart


def draw_comparison(comparison: Comparison) -> Iterator[tuple[str, AnyChart]]:
    """Yield the charts with the names of their files."""
    metric, names = comparison.metric, name_systems(comparison)
    groups = [
        (names[pair.system.label], [*_make_bars(pair.differences[metric])])
        for pair in comparison.pairs
        if metric in pair.differences
    ]
    title = f"{metric}: difference to the baseline, 95 % intervals"
    yield "differences", BarChart(title, f"difference in {metric}", groups, share=is_share(metric))
    if (chart := _draw_cost(comparison, names)) is not None:
        yield "cost", chart
    for kind, name in ((GOLD_CALLS, "gold-calls"), (SOLVED_SHARE, "difficulty"), ("group", "groups")):
        parts = {part.name for pair in comparison.pairs for part in pair.parts if part.kind == kind}
        if parts and len(comparison.pairs) <= MAX_COMPARED:
            title = f"{metric} by {kind}: difference to the baseline"
            ordered = sorted(parts, key=natural_sort_key)
            of_parts = [(part, [*_list_part_bars(comparison, kind, part, names)]) for part in ordered]
            yield name, BarChart(title, f"difference in {metric}", of_parts, share=is_share(metric))


def _make_bars(difference: PairedDifference) -> Iterator[IntervalBar]:
    estimate = difference.estimate
    yield IntervalBar("tasks resampled", estimate.value, *(estimate.interval or (None, None)))
    if estimate.templates < estimate.tasks:
        yield IntervalBar("templates resampled", estimate.value, *(estimate.template_interval or (None, None)))


def _list_part_bars(comparison: Comparison, kind: str, name: str, names: Mapping[str, str]) -> Iterator[IntervalBar]:
    for pair in comparison.pairs:
        for part in pair.parts:
            if (part.kind, part.name) == (kind, name):
                estimate = part.difference.estimate
                yield IntervalBar(names[pair.system.label], estimate.value, *(estimate.interval or (None, None)))


def _draw_cost(comparison: Comparison, names: Mapping[str, str]) -> Chart | None:
    """Return the metric of each system against its tokens for a task; None if a system's tokens are unknown."""
    lines = []
    for system in comparison.systems:
        estimates = comparison.estimates[system.label]
        if "tokens" not in estimates or (tokens := estimates["tokens"].value) <= 0:
            return None
        made = estimates[comparison.metric]
        low, high = made.interval or (None, None)
        lines.append(Line(names[system.label], [Point(tokens, made.value, low, high)], joined=False))
    differ = len({system.task_ids for system in comparison.systems}) > 1
    title = f"{comparison.metric} by cost, 95 % intervals over {'each system’s own tasks' if differ else 'tasks'}"
    return Chart(title, "tokens a task (policy and PRM)", comparison.metric, lines, is_share(comparison.metric))


def name_systems(comparison: Comparison) -> dict[str, str]:
    """Return a short name of each system by its label; numbered as in the tables if the labels are too long."""
    labels: Sequence[str] = [system.label for system in comparison.systems]
    if all(len(label) <= MAX_LABEL_CHARS for label in labels):
        return {label: label for label in labels}
    return {label: _shorten(f"{number}: {label}") for number, label in enumerate(labels, start=1)}


def _shorten(label: str) -> str:
    return label if len(label) <= MAX_LABEL_CHARS else f"{label[: MAX_LABEL_CHARS - 1]}…"
