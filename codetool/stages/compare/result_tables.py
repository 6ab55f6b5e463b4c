"""Tables of a comparison as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation.metric_format import format_metric
from codetool.evaluation.metrics import is_share
from codetool.evaluation.paired_comparison import MeanEstimate, PairedDifference
from codetool.evaluation.result_files import natural_sort_key
from codetool.runs.journal import atomic_write
from codetool.stages.compare.comparison import Comparison, PairComparison

DIFFERENCES_FILE, TASKS_FILE, LATEX_FILE = "differences.csv", "tasks.csv", "table.tex"
COST_METRICS = ("tokens_in", "tokens_out", "prm_tokens", "seconds", "usd")
LATEX_SPECIALS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "…": r"\dots{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
"""Characters with a meaning in LaTeX, and how they are written."""


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write all differences, the values of all tasks, and the main table for a paper."""
    rows = [row for pair in comparison.pairs for row in _list_difference_rows(pair, comparison.metric)]
    atomic_write(folder / DIFFERENCES_FILE, [_encode_csv(rows)])
    atomic_write(folder / TASKS_FILE, [_encode_csv(list(_list_task_rows(comparison)))])
    atomic_write(folder / LATEX_FILE, [format_latex(comparison).encode()])


def _encode_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), "", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _list_difference_rows(pair: PairComparison, metric: str) -> Iterator[dict[str, Any]]:
    for name, difference in pair.differences.items():
        yield _build_row(pair, name, "all", "", difference)
    for part in pair.parts:
        yield _build_row(pair, metric, part.kind, part.name, part.difference)


def _build_row(pair: PairComparison, metric: str, kind: str, part: str, made: PairedDifference) -> dict[str, Any]:
    estimate = made.estimate
    low, high = estimate.interval or (None, None)
    template_low, template_high = estimate.template_interval or (None, None)
    return {
        "system": pair.system.label, "baseline": pair.baseline.label, "metric": metric, "kind": kind, "part": part,
        "tasks": estimate.tasks, "templates": estimate.templates, "value": made.first, "baseline_value": made.second,
        "difference": estimate.value, "low": low, "high": high, "template_low": template_low,
        "template_high": template_high, "detectable": made.detectable, "template_detectable": made.template_detectable,
        "higher": made.wins, "lower": made.losses, "mcnemar_p": made.p, "holm_p": made.p_holm,
    }  # fmt: skip


def _list_task_rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Yield a row for each task with the compared metric and the output tokens of every system."""
    names = [comparison.metric, *(name for name in COST_METRICS if name in comparison.baseline.metrics)]
    values = {(each.label, name): each.measure(name) for each in comparison.systems for name in names}
    task_ids = {task_id for system in comparison.systems for task_id in system.task_ids}
    for task_id in sorted(task_ids, key=natural_sort_key):
        task = comparison.tasks.get(task_id)
        row: dict[str, Any] = {"task_id": task_id, "group": task and task.group, "template": task and task.template}
        row["gold_calls"] = len(task.gold) if task else None
        yield row | {f"{label}: {name}": of_tasks.get(task_id) for (label, name), of_tasks in values.items()}


def format_latex(comparison: Comparison) -> str:
    """Return the main table in LaTeX, for the packages booktabs and inputenc; the baseline comes first.

    Means of the baseline are over all its tasks, those of another system over the tasks that both have.
    """
    metric = comparison.metric
    costs = [name for name in COST_METRICS if all(name in pair.differences for pair in comparison.pairs)]
    head = ["system", metric, "difference", "95\\,\\% interval", "by template", "$p$", "$p$ (Holm)", *costs]
    base = {name: made.value for name, made in comparison.estimates[comparison.baseline.label].items()}
    rows = [_format_latex_row(comparison.baseline.label, metric, base, None, costs)]
    for pair in comparison.pairs:
        means = {name: made.first for name, made in pair.differences.items()}
        rows.append(_format_latex_row(pair.system.label, metric, means, pair.differences[metric], costs))
    lines = [
        "% \\usepackage{booktabs}",
        f"% difference to {_one_line(comparison.baseline.label)}; intervals: tasks or templates resampled;",
        "% p: McNemar's exact test, and corrected after Holm",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        "\\toprule",
        " & ".join(cell if "\\" in cell or "$" in cell else escape_latex(cell) for cell in head) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _format_latex_row(
    label: str, metric: str, means: Mapping[str, float], difference: PairedDifference | None, costs: Sequence[str]
) -> list[str]:
    values = [escape_latex(label), escape_latex(format_metric(metric, means[metric]))]
    if difference is None:
        values += ["--"] * 5
    else:
        estimate = difference.estimate
        intervals = (format_interval(metric, interval) for interval in (estimate.interval, estimate.template_interval))
        p_values = (format_p(difference.p), format_p(difference.p_holm))
        values += map(escape_latex, (format_difference(metric, estimate.value), *intervals, *p_values))
    return [
        *values,
        *(escape_latex(format_metric(name, means[name], 4 if name == "usd" else 0)) for name in costs),
    ]


def escape_latex(text: str) -> str:
    """Return the text with the characters escaped that have a meaning in LaTeX."""
    return "".join(LATEX_SPECIALS.get(letter, letter) for letter in _one_line(text)).replace("−", "$-$")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def format_difference(metric: str, value: float) -> str:
    """Return a difference with its sign: percentage points of a share, or the amount."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{100 * abs(value):.1f} pp" if is_share(metric) else f"{sign}{abs(value):,.4g}"


def format_interval(metric: str, interval: tuple[float, float] | None) -> str:
    """Return an interval of differences; a dash if it is unknown."""
    if interval is None:
        return "–"
    low, high = (format_difference(metric, bound).removesuffix(" pp") for bound in interval)
    return f"{low} … {high}"


def format_mean(metric: str, estimate: MeanEstimate) -> str:
    """Return the mean of a metric."""
    return f"{estimate.value:.4g}" if metric == "usd" else format_metric(metric, estimate.value)


def format_p(p: float | None) -> str:
    """Return a p-value with three decimals; a dash if there is none."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
