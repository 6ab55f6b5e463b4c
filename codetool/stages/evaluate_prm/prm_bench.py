"""The parts of stage=evaluate_prm that compare a PRM: reference judges, selection by budget, and the scored steps.

They go to `metrics.json`, to two tables on standard output, to the figure `selection.svg` and to `steps.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codetool.evaluation.charts import Chart, Line, Point, write_chart
from codetool.evaluation.metric_format import format_percent
from codetool.evaluation.prm_metrics import PRMMetric
from codetool.evaluation.prm_references import compute_reference_metrics
from codetool.evaluation.prm_selection import Level, Selection, measure_selection
from codetool.evaluation.result_columns import STEPS_FILE
from codetool.model_types import ProcessExample
from codetool.runs import journal
from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset
from codetool.types import FigureFormat

SELECTION_FIGURE = "selection"
COLUMNS = {
    "accuracy": "step\nacc.", "pairwise_accuracy": "pair\nacc.", "first_error_accuracy": "1st-error\nacc.",
    "auroc": "AUROC", "ece": "ECE", "brier": "Brier", "selection_regret": "regret",
}  # fmt: skip
"""Metrics of the table of judges with their heads, which fit into 80 characters."""
POINTS = frozenset({"accuracy", "pairwise_accuracy", "first_error_accuracy"})
"""Metrics of it that are shown in percent."""
LEVELS: Mapping[Level, str] = {
    "steps": "siblings: mean estimate of the chosen step; gain over the random choice in points",
    "paths": "paths: success of the chosen path, by the mean score of its steps; gain in points",
}


@dataclass(frozen=True)
class Bench:
    """What a PRM is compared with."""

    references: Mapping[str, Mapping[str, float]]
    """Metrics by reference judge."""
    selections: Sequence[Selection]

    def encode(self) -> dict[str, Any]:
        """Return the content for `metrics.json`."""
        return {
            "references": {judge: dict(metrics) for judge, metrics in self.references.items()},
            "selection": [
                {
                    "level": each.level,
                    "n": each.n,
                    "pools": each.pools,
                    **{name: encode_metric(metric) for name, metric in each.metrics.items()},
                }
                for each in self.selections
            ],
        }


def measure_bench(data: PRMEvalDataset, scores: Sequence[float], *, threshold: float, seed: int) -> Bench:
    """Compute the metrics of the reference judges and the selection by budget, from the scores of `data.examples`."""
    examples = data.examples
    return Bench(
        references=compute_reference_metrics(examples, threshold=threshold, seed=seed),
        selections=measure_selection(
            examples,
            scores,
            templates={name: task.template for name, task in data.tasks.items()},
            questions=data.questions,
            outcomes=data.outcomes,
            seed=seed,
        ),
    )


def write_bench_files(
    bench: Bench, data: PRMEvalDataset, scores: Sequence[float], folder: Path, formats: Iterable[FigureFormat]
) -> None:
    """Write the scored steps with their estimates and the figure of the selection. Raises WriteError."""
    rows = (_make_step_row(example, score) for example, score in zip(data.examples, scores, strict=True))
    journal.atomic_write(folder / STEPS_FILE, map(journal.encode_record, rows))
    if bench.selections:
        write_chart(build_selection_chart(bench.selections), folder, SELECTION_FIGURE, formats)


def print_bench(bench: Bench, prm: str, metrics: Mapping[str, PRMMetric], console: Console) -> None:
    """Print the PRM beside the reference judges, and the selection by budget."""
    console.print(_make_judge_table({f"prm={prm}": {name: each.value for name, each in metrics.items()}}, bench))
    for level, title in LEVELS.items():
        if rows := [each for each in bench.selections if each.level == level]:
            console.print(f"choice among n {title}", markup=False, highlight=False, soft_wrap=True)
            console.print(_make_selection_table(rows))


def build_selection_chart(selections: Sequence[Selection]) -> Chart:
    """Return the value of the choice by n: complete paths if there are any pools of them, else siblings."""
    level = "paths" if any(each.level == "paths" for each in selections) else "steps"
    rows = [each for each in selections if each.level == level]
    names = {"oracle": "the best of the n", "prm": "choice of the PRM", "random": "random choice"}
    return Chart(
        title="Selection by budget, 95 % intervals",
        x_name="candidates n",
        y_name="success of the chosen path" if level == "paths" else "mean estimate of the chosen step",
        lines=[Line(name, [_make_point(each.n, each.metrics[key]) for each in rows]) for key, name in names.items()],
        ticks=[(each.n, f"{each.n}\n{each.pools} pools") for each in rows],
    )


def _make_point(n: int, metric: PRMMetric) -> Point:
    return Point(n, metric.value, metric.low, metric.high)


def _make_step_row(example: ProcessExample, score: float) -> dict[str, Any]:
    names = ("task_id", "node_id", "group", "executed", "soft", "hard", "label", "multiplicity")
    return {name: getattr(example, name) for name in names} | {"score": score}


def _make_judge_table(judges: Mapping[str, Mapping[str, float]], bench: Bench) -> Table:
    rows = {**judges, **bench.references}
    names = [name for name in COLUMNS if any(name in metrics for metrics in rows.values())]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("judge", no_wrap=True)
    for name in names:
        table.add_column(COLUMNS[name], justify="right", no_wrap=True)
    for judge, metrics in rows.items():
        table.add_row(judge, *(_format_value(name, metrics.get(name)) for name in names))
    return table


def _format_value(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return format_percent(value) if name in POINTS else f"{value:.3f}"


def _make_selection_table(rows: Sequence[Selection]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("  n", "pools", "random", "PRM", "best", "gain", "95 % interval", "recovered"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in rows:
        table.add_row(f"  {each.n}", f"{each.pools:,}", *_format_selection(each.metrics))
    return table


def _format_selection(metrics: Mapping[str, PRMMetric]) -> Iterator[str]:
    yield from (format_percent(metrics[name].value) for name in ("random", "prm", "oracle"))
    gain, recovered = metrics["gain"], metrics.get("recovered")
    yield f"{100 * gain.value:+.1f}"
    known = gain.low is not None and gain.high is not None
    yield f"{100 * (gain.low or 0.0):+.1f} … {100 * (gain.high or 0.0):+.1f}" if known else "–"
    yield format_percent(recovered.value) if recovered else "–"


def encode_metric(metric: PRMMetric) -> dict[str, float | None]:
    """Return the metric as JSON; as in other stages' `metrics.json`, a missing template interval is left out."""
    fields = asdict(metric)
    return {name: value for name, value in fields.items() if value is not None or not name.startswith("template")}
