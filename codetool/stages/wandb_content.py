"""Build the W&B content of a result from the files of its folder, for each stage."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.evaluation import judged_results
from codetool.evaluation.judged_results import load_result_lines
from codetool.runs import journal
from codetool.tracking.run_content import RunContent, RunInfo, SyncStatus, Table
from codetool.tracking.run_loggers import RunLoggers, start_run_loggers

log = logging.getLogger(__name__)

METRIC_DETAILS = ("low", "high", "standard_error", "vote_deviation", "win", "tie", "loss")
"""Fields of a metric that are logged beside its value."""
LOSSES, VALIDATIONS = "losses.jsonl", "validations.jsonl"
MAX_CELL_CHARS = 10_000
"""Maximum length of a text in a table."""


@contextmanager
def start_stage_loggers(
    config: RunConfig, choices: Mapping[str, str], folder: Path, tags: Sequence[str]
) -> Iterator[RunLoggers]:
    """Start the loggers of a stage's run, outside a sweep, and yield them; they end with the context."""
    group = choices["experiment"] if choices["experiment"] != "none" else None
    with start_run_loggers(config.logger, RunInfo(folder, group, config.stage, tags)) as loggers:
        yield loggers


def log_result(loggers: RunLoggers, content: RunContent) -> SyncStatus | None:
    """Log a result, end the loggers, and report the outcome of an upload in the log."""
    status = loggers.finish(content)
    if status:
        log.log(logging.WARNING if status.is_warning else logging.INFO, status.message)
    return status


def build_task_content(folder: Path, tasks: Sequence[str]) -> RunContent:
    """Return the content of stage=evaluate and stage=collect: metrics, total cost, and a table with a row per task.

    A metric is `name`, `name_low` and `name_high`; the total cost is `ledger/…`, task counts are `tasks/…`, unsolved
    tasks by kind are `errors/…`, and metrics of task groups are `groups/<name>/…`. Missing values are left out.
    """
    content = _read_metrics(folder)
    lines = load_result_lines(folder, tasks)
    report = folder / "report.html"
    numbers = {**_flatten_metrics(content["metrics"]), **_list_run_totals(content, lines)}
    for group, summary in content.get("groups", {}).items():
        numbers |= {f"groups/{group}/{name}": value for name, value in _flatten_metrics(summary["metrics"]).items()}
    return RunContent(numbers, {"tasks": _build_task_table(lines)}, report=report if report.is_file() else None)


def build_training_content(folder: Path) -> RunContent:
    """Return the content of stage=train: curves of loss, learning rate and validation, and the final metrics."""
    content = _read_metrics(folder)
    curves = [*_read_curve(folder / LOSSES, "train"), *_read_curve(folder / VALIDATIONS, "validation")]
    numbers = {name: value for name, value in content.items() if isinstance(value, int | float)}
    counts = {f"data/{name}": count for name, count in content["counts"].items()}
    return RunContent(
        _flatten_metrics(content["metrics"]) | numbers | counts, {}, sorted(curves, key=lambda point: point["step"])
    )


def build_prm_content(folder: Path) -> RunContent:
    """Return the content of stage=evaluate_prm: its metrics and the table of the reliability plot."""
    content = _read_metrics(folder)
    columns = ["low", "high", "score", "share"]
    bins = [
        [*(each[name] for name in columns), *(each["soft"][name] for name in ("value", "low", "high"))]
        for each in content["reliability"]
    ]
    numbers = _flatten_metrics(content["metrics"])
    for depth, metric in content["pairwise_accuracy_by_depth"].items():
        numbers |= _flatten_metrics({f"pairwise_accuracy/step_{depth}": metric})
    counts = {f"data/{name}": content[name] for name in ("tasks", "groups", "steps")}
    return RunContent(numbers | counts, {"reliability": Table([*columns, "soft", "soft_low", "soft_high"], bins)})


def build_judge_content(folder: Path) -> RunContent:
    """Return the content of stage=judge: its metrics, the cost of its votes, and a table with a row per task."""
    content = _read_metrics(folder)
    names = ["task_id", "query", "answer", "labels", "reason", "sopr", "reference_answer", "preference", "sowr"]
    lines = list(journal.read_records(folder / judged_results.JUDGED_FILE))
    columns = [name for name in names if any(name in line for line in lines)]
    numbers = _flatten_metrics(content["metrics"]) | {
        f"tasks/{name}": count for name, count in content["tasks"].items()
    }
    rows = [
        [_shorten(", ".join(line[name]) if name == "labels" else line.get(name)) for name in columns] for line in lines
    ]
    return RunContent(numbers | _list_judge_counts(content), {"tasks": Table(columns, rows)})


def _list_judge_counts(content: Mapping[str, Any]) -> dict[str, float]:
    return {f"judge/{name}": count for name, count in content.get("judge", {}).items() if name != "model"}


def _read_metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def _flatten_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return `name` and, for a metric with an interval, `name_low` and `name_high`; a metric may be a number."""
    flat: dict[str, float | None] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Mapping):
            flat[name] = metric["value"]
            flat |= {f"{name}_{more}": number for more, number in metric.items() if more.endswith(METRIC_DETAILS)}
        else:
            flat[name] = metric
    return {name: value for name, value in flat.items() if value is not None}


def _list_run_totals(content: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, count in content["tasks"].items():
        if not isinstance(count, (list, dict)):
            numbers[f"tasks/{name}"] = count
    numbers |= _list_judge_counts(content)
    for kind in sorted({line["error"]["kind"] for line in lines if line["error"]}):
        numbers[f"errors/{kind}"] = sum(line["error"] is not None and line["error"]["kind"] == kind for line in lines)
    for name in lines[0]["ledger"] if lines else ():
        amounts = [line["ledger"][name] for line in lines if line["ledger"][name] is not None]
        if amounts:
            numbers[f"ledger/{name}"] = sum(amounts)
    return numbers


def _build_task_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a row for each result line."""
    head = ["task_id", "query", "answer", "success", "finished", "stopped_by", "error", "message", "steps"]
    names = [name for name in (lines[0]["metrics"] if lines else ()) if name not in head]
    rows = []
    for line in lines:
        error = line["error"] or {"kind": None, "message": None}
        row = [line[name] for name in head[:6]] + [error["kind"], error["message"], len(line["path"])]
        rows.append([*map(_shorten, row)] + [line["metrics"].get(name) for name in names])
    return Table(head + names, rows)


def _shorten(value: Any) -> Any:
    """Return a text cut to what a cell of a table shows; other values unchanged."""
    return value if not isinstance(value, str) or len(value) <= MAX_CELL_CHARS else f"{value[:MAX_CELL_CHARS]}…"


def _read_curve(file: Path, name: str) -> Iterator[dict[str, float]]:
    """Yield the lines of a journal of the training, with the values renamed to `name/…`."""
    for line in journal.read_records(file) if file.is_file() else ():
        values = {f"{name}/{key}": value for key, value in line.items() if key != "step" and value is not None}
        yield {"step": line["step"], **values}
