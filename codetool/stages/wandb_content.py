"""Build the W&B content of a result from the files of its folder, for each stage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation import judged_results
from codetool.evaluation.judged_results import load_result_lines
from codetool.process_data.examples import PROCESS_FILE
from codetool.runs import journal
from codetool.runs.repeats import get_repeat
from codetool.stages.logged_run import describe_adapter, describe_process_data, describe_report
from codetool.tracking.run_content import ArtifactFiles, RunContent, Table

METRIC_DETAILS = ("low", "high", "standard_error", "vote_deviation", "win", "tie", "loss")
"""Fields of a metric that are logged beside its value."""
LOSSES, VALIDATIONS = "losses.jsonl", "validations.jsonl"
MAX_CELL_CHARS = 10_000
"""Maximum length of a text in a table."""


def build_task_content(folder: Path, tasks: Sequence[str], used: Iterable[ArtifactFiles] = ()) -> RunContent:
    """Return the content of stage=evaluate and stage=collect: metrics, total cost, and a table with a row per task.

    `used` are the files of other runs that this one has used.

    A metric is `name`, `name_low` and `name_high`; the total cost is `ledger/…`, task counts are `tasks/…`, unsolved
    tasks by kind are `errors/…`, and metrics of task groups are `groups/<name>/…`. Missing values are left out.
    """
    content = _read_metrics(folder)
    lines = load_result_lines(folder, tasks)
    numbers = {**_flatten_metrics(content["metrics"]), **_list_run_totals(content, lines)}
    for group, summary in content.get("groups", {}).items():
        numbers |= {f"groups/{group}/{name}": value for name, value in _flatten_metrics(summary["metrics"]).items()}
    made = [describe_report(folder)]
    if (folder / PROCESS_FILE).is_file():
        made.append(describe_process_data(folder))
    return RunContent(numbers, {"tasks": _build_task_table(lines)}, artifacts=[*used, *made])


def build_training_content(folder: Path, data: Sequence[Path]) -> RunContent:
    """Return the content of stage=train: its curves, the final metrics, the adapter, and the `data` it learned from."""
    content = _read_metrics(folder)
    curves = [*_read_curve(folder / LOSSES, "train"), *_read_curve(folder / VALIDATIONS, "validation")]
    numbers = {name: value for name, value in content.items() if isinstance(value, int | float)}
    counts = {f"data/{name}": count for name, count in content["counts"].items()}
    artifacts = [describe_process_data(path, is_input=True) for path in data]
    if (folder / "adapter").is_dir():  # the weights of a full model are too large to be stored once more
        artifacts.append(describe_adapter(folder / "adapter"))
    values = _flatten_metrics(content["metrics"]) | numbers | counts
    return RunContent(values, curves=sorted(curves, key=lambda point: point["step"]), artifacts=artifacts)


def build_prm_content(folder: Path, used: Sequence[ArtifactFiles] = ()) -> RunContent:
    """Return the content of stage=evaluate_prm: its metrics, the table of the reliability plot, and the files used."""
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
    references = {
        f"{judge}/{name}": value for judge, metrics in content["references"].items() for name, value in metrics.items()
    }
    gains = {f"selection/{each['level']}_{each['n']}/gain": each["gain"] for each in content["selection"]}
    numbers |= counts | references | _flatten_metrics(gains)
    table = Table([*columns, "soft", "soft_low", "soft_high"], bins)
    return RunContent(numbers, {"reliability": table}, artifacts=used)


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
    for name in dict.fromkeys(name for line in lines for name in line["ledger"]):
        amounts = [line["ledger"][name] for line in lines if line["ledger"].get(name) is not None]
        if amounts:
            numbers[f"ledger/{name}"] = sum(amounts)
    return numbers


def _build_task_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table with a row for each result line."""
    head = ["task_id", "query", "answer", "success", "finished", "stopped_by", "error", "message", "steps"]
    names = [name for name in (lines[0]["metrics"] if lines else ()) if name not in head]
    repeats = ["repeat"] if any(get_repeat(line) > 1 for line in lines) else []
    rows = []
    for line in lines:
        error = line["error"] or {"kind": None, "message": None}
        row = [line[name] for name in head[:6]] + [error["kind"], error["message"], len(line["path"])]
        values = [line["metrics"].get(name) for name in names]
        rows.append([*map(_shorten, row), *values, *(get_repeat(line) for _ in repeats)])
    return Table([*head, *names, *repeats], rows)


def _shorten(value: Any) -> Any:
    """Return a text cut to what a cell of a table shows; other values unchanged."""
    return value if not isinstance(value, str) or len(value) <= MAX_CELL_CHARS else f"{value[:MAX_CELL_CHARS]}…"


def _read_curve(file: Path, name: str) -> Iterator[dict[str, float]]:
    """Yield the lines of a journal of the training, with the values renamed to `name/…`."""
    for line in journal.read_records(file) if file.is_file() else ():
        values = {f"{name}/{key}": value for key, value in line.items() if key != "step" and value is not None}
        yield {"step": line["step"], **values}
