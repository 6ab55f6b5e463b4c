"""Summarize stage=evaluate_prm: a table on standard output, `metrics.json` and the figure `reliability.svg`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codetool.config.run_config import RunConfig
from codetool.evaluation.charts import Bar, Chart, Line, Point, write_chart
from codetool.evaluation.metric_format import format_percent
from codetool.evaluation.prm_metrics import PRMMetric, PRMReport, measure_prm
from codetool.evaluation.result_columns import STEPS_FILE
from codetool.runs import journal
from codetool.runs.provenance import count_results_by_code
from codetool.stages.evaluate.summary_display import describe_untrained_prm
from codetool.stages.evaluate_prm.prm_bench import (
    SELECTION_FIGURE,
    encode_metric,
    measure_bench,
    print_bench,
    write_bench_files,
)
from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset
from codetool.stages.fault_journal import describe_faults, read_faults

METRICS_FILE, FIGURE = "metrics.json", "reliability"
FILES = (METRICS_FILE, f"{FIGURE}.svg", f"{SELECTION_FIGURE}.svg", STEPS_FILE, "scores.jsonl", "config.yaml", "log.txt")
UNITS = {
    "accuracy": "steps", "auroc": "steps", "pairwise_accuracy": "pairs", "first_error_f1": "paths",
    "first_error_accuracy": "paths",
    "first_error_erroneous": "lost paths", "first_error_correct": "good paths", "selection_regret": "groups",
    "selection_regret_random": "groups", "ece": "steps", "brier": "steps", "log_loss": "steps",
}  # fmt: skip
"""Unit of the items that each metric counts."""
PERCENT_METRICS = frozenset(UNITS) - {
    "auroc",
    "ece",
    "brier",
    "log_loss",
    "selection_regret",
    "selection_regret_random",
}


def write_prm_summary(
    config: RunConfig,
    data: PRMEvalDataset,
    scores: Mapping[tuple[str, str], float],
    folder: Path,
    console: Console,
    failures: Mapping[str, str],
    prm: str,
) -> None:
    """Compute the metrics of the PRM, the option `prm`, from its scores, write the files and print the tables.

    `failures` are the errors of the tasks that were left out of `data` because a step could not be scored.
    """
    examples = data.examples
    values = [scores[example.task_id, example.node_id] for example in examples]
    measurement = measure_prm(
        examples,
        values,
        threshold=config.evaluate_prm.threshold,
        weigh_pairs=config.evaluate_prm.weight_pairs_by_count,
        templates={name: task.template for name, task in data.tasks.items()},
        seed=config.seed,
    )
    bench = measure_bench(data, values, threshold=config.evaluate_prm.threshold, seed=config.seed)
    counts = {"tasks": len(data.tasks), "groups": len(data.groups), "steps": len(examples)}
    left_out = {"failures": [{"task_id": name, "message": message} for name, message in failures.items()]}
    content = {
        **_encode_report(measurement),
        **bench.encode(),
        **counts,
        **left_out,
        "code": count_results_by_code(folder, len(scores)),
    }
    content |= {"faults": faults} if (faults := read_faults(folder)) else {}
    journal.atomic_write(folder / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_chart(build_reliability_chart(measurement, data.estimate_name), folder, FIGURE, config.figures)
    write_bench_files(bench, data, values, folder, config.figures)
    _print_report(measurement, console)
    print_bench(bench, prm, measurement.metrics, console)
    labelled = sum(example.label is not None for example in examples)
    for line in (
        *_describe_metrics(measurement, len(examples), labelled, data.note),
        *describe_faults(folder),
        *describe_untrained_prm(config.settings),
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    _print_failures(failures, console)
    files = ", ".join(name for name in FILES if (folder / name).exists())
    console.print(f"files in {folder}: {files}", markup=False, highlight=False, soft_wrap=True)


def _print_failures(failures: Mapping[str, str], console: Console) -> None:
    """Print the number of failed tasks and the first five errors; nothing without one."""
    if failures:
        message = (
            f"{len(failures)} tasks failed internally and are left out of every number. The same command tries them "
            "again."
        )
        console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    for name, error in list(failures.items())[:5]:
        console.print(f"  {name}: {error}", markup=False, highlight=False, soft_wrap=True)


def build_reliability_chart(measurement: PRMReport, estimate_name: str) -> Chart:
    """Return the reliability plot: the success rate by score, which is the diagonal for a calibrated PRM."""
    error = measurement.metrics["ece"].value
    points = [Point(bin_.score, bin_.soft.value, bin_.soft.low, bin_.soft.high) for bin_ in measurement.bins]
    ends = [Point(0.0, 0.0, None, None), Point(1.0, 1.0, None, None)]
    return Chart(
        title=f"Reliability, {measurement.metrics['ece'].n:,} steps: expected calibration error {error:.3f}",
        x_name="score of the PRM",
        y_name=estimate_name,
        lines=[
            Line("calibrated", ends, colour="#888888", dots=False),
            Line("steps by score, 95 % interval", points, colour="#0072b2"),
        ],
        ticks=[(tick / 5, f"{tick / 5:g}") for tick in range(6)],
        bars=[Bar(bin_.low, bin_.high, bin_.share) for bin_ in measurement.bins],
        bars_name="share of the steps",
    )


def _encode_report(measurement: PRMReport) -> dict[str, Any]:
    return {
        "metrics": {name: encode_metric(metric) for name, metric in measurement.metrics.items()},
        "pairwise_accuracy_by_depth": {depth: encode_metric(metric) for depth, metric in measurement.by_depth.items()},
        "reliability": [asdict(bin_) | {"soft": encode_metric(bin_.soft)} for bin_ in measurement.bins],
    }


def _print_report(measurement: PRMReport, console: Console) -> None:
    table = Table("metric", "value", "95 % interval", "of", box=None, pad_edge=False, header_style="bold")
    for name, metric in measurement.metrics.items():
        table.add_row(name, *_format_metric(metric, name in PERCENT_METRICS), f"{metric.n:,} {UNITS[name]}")
    console.print(table)
    table = Table("pairwise_accuracy", "value", "95 % interval", "of", box=None, pad_edge=False, header_style="bold")
    for depth, metric in measurement.by_depth.items():
        table.add_row(f"  of step {depth}", *_format_metric(metric, True), f"{metric.n:,} pairs")
    if measurement.by_depth:
        console.print(table)


def _format_metric(metric: PRMMetric, percent: bool) -> Iterator[str]:
    def number(value: float) -> str:
        return format_percent(value) if percent else f"{value:.3f}"

    yield number(metric.value)
    has_interval = metric.low is not None and metric.high is not None
    yield f"{number(metric.low or 0.0)} … {number(metric.high or 0.0)}" if has_interval else "–"


def _describe_metrics(measurement: PRMReport, steps: int, labelled: int, note: str) -> Iterator[str]:
    yield note or (
        f"accuracy and auroc count the {labelled:,} of {steps:,} steps that have a label: siblings differ. "
        "ece, brier and log_loss compare scores with the share of leaves that succeed."
    )
    if absent := [name for name in UNITS if name not in measurement.metrics]:
        yield f"not determined by these steps: {', '.join(absent)}"
