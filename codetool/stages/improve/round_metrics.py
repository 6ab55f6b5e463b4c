"""Measure a round from the run folders of its parts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation.answer_shortcuts import count_answer_shortcuts
from codetool.evaluation.judged_results import get_metric_by_task, load_result_lines
from codetool.evaluation.paired_comparison import compare_systems
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.process_data.examples import PROCESS_FILE
from codetool.runs import journal
from codetool.stages.wandb_content import LOSSES

Metrics = dict[str, Any]
SUMMARY_FILE = "summary.json"


def measure_collection(folder: Path, tasks: Sequence[str]) -> Metrics:
    """Return what a round learns from: groups of siblings, and how certain the policy was of the steps that it drew.

    `groups_with_spread` is the share of the groups of two or more drawn candidates whose estimates are not all equal;
    without spread a group says nothing about which sibling is better. `log_probability` is the mean per token of the
    drawn steps in nats, and `entropy`, its negative, an estimate of the entropy of a token; None where the policy has
    not told it.
    """
    groups = _count_groups(folder / PROCESS_FILE)
    nodes = [node for tree in TreeFile(folder / TREES).read_trees(tasks) for node in tree["nodes"]]
    known = [node for node in nodes if node.get("log_probability") is not None and node.get("tokens_out")]
    tokens = sum(node["tokens_out"] for node in known)
    certainty = sum(node["log_probability"] for node in known) / tokens if tokens else None
    return {
        "tasks": len(tasks),
        "solved": count_data(folder, "solved_trees"),
        "transcripts": count_data(folder, "transcripts"),
        "steps": count_data(folder, "examples"),
        "groups": len(groups),
        "groups_with_spread": sum(groups) / len(groups) if groups else None,
        "duplicates": read_metrics(folder)["metrics"].get("duplicates", {}).get("value"),
        "log_probability": certainty,
        "entropy": None if certainty is None else -certainty,
    }


def count_data(folder: Path, name: str) -> int:
    """Return a count of `summary.json` of a folder of stage=collect: `transcripts`, `examples` or `solved_trees`."""
    content: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    return int(content[name])


def _count_groups(file: Path) -> list[bool]:
    """Return, for each group of two or more drawn candidates in `process.jsonl`, whether the estimates differ."""
    drawn: dict[tuple[str, str], int] = defaultdict(int)
    estimates: dict[tuple[str, str], set[float]] = defaultdict(set)
    for line in journal.read_records(file):
        group = line["task_id"], line["group"]
        drawn[group] += line["multiplicity"]
        estimates[group].add(line["soft"])
    return [len(estimates[group]) > 1 for group, count in drawn.items() if count > 1]


def measure_evaluation(folder: Path, tasks: Sequence[str]) -> Metrics:
    """Return the success on dev with its interval, tool errors, and the shares of answers that took a shortcut.

    `tool_errors_per_step` is the number of tool calls without a 2xx answer, by the number of executed steps of all
    trees.
    """
    trees = {tree["task_id"]: tree for tree in TreeFile(folder / TREES).read_trees(tasks)}
    lines = [line for line in load_result_lines(folder, tasks) if line["task_id"] in trees]
    executions = [node["execution"] for tree in trees.values() for node in tree["nodes"] if node["execution"]]
    errors = sum(not 200 <= call["http_status"] < 300 for each in executions for call in each["calls"])
    content = read_metrics(folder)
    return {
        "success": content["metrics"].get("success"),
        "tool_errors_per_step": errors / len(executions) if executions else None,
        **count_answer_shortcuts(lines, trees).compute_shares(),
    }


def compare_with_first(folder: Path, first: Path, templates: Mapping[str, str | None]) -> Metrics | None:
    """Return the paired difference of success between an evaluation and the first one, with its interval.

    `templates` has the template of each task, by its id.
    """
    values = [get_metric_by_task(load_result_lines(each), "success") for each in (folder, first)]
    compared = compare_systems(values[0], values[1], templates)
    if compared is None:
        return None
    low, high = compared.estimate.interval or (None, None)
    return {
        "value": compared.estimate.value,
        "low": low,
        "high": high,
        "wins": compared.wins,
        "losses": compared.losses,
    }


def measure_training(folder: Path) -> Metrics:
    """Return the loss at the end of a training, its updates and, where its objective tells them, KL and entropy.

    `kl` is the divergence from the policy that the training began with, and `entropy` that of a token; like the loss,
    both are means over the last tenth of the updates, in nats.
    """
    content = read_metrics(folder)
    lines = list(journal.read_records(folder / LOSSES))
    tail = lines[-max(1, len(lines) // 10) :]
    told = {name: [line[name] for line in tail if line.get(name) is not None] for name in ("kl", "entropy")}
    means = {name: sum(values) / len(values) for name, values in told.items() if values}
    return {"loss": content["loss"], "updates": content["updates"], **means}


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the content of a run folder's `metrics.json`."""
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def flatten_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a round's record as `name` or `block/name`, for curves; missing values are left out."""
    return dict(_iterate_numbers(record, ""))


def _iterate_numbers(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _iterate_numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
