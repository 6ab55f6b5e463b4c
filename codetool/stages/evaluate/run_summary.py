"""Summarize the results of a run folder: write `metrics.json` and the report from its journals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.summary import RunSummary, encode_summary, summarize_results
from codetool.models.vllm_servers import USAGE_FILE
from codetool.runs import journal
from codetool.runs.provenance import count_results_by_code, read_sandbox_events
from codetool.runs.repeats import map_to_originals
from codetool.stages import run_folder
from codetool.stages.evaluate.run_limit import RunLimit, describe_stop, is_stopped_by_run
from codetool.stages.evaluate.spent_summary import summarize_spent
from codetool.stages.evaluate.task_price import find_rates
from codetool.stages.evaluate.tool_counts import read_counts
from codetool.stages.fault_journal import read_faults
from codetool.stages.report import write_report_if_possible
from codetool.stages.spent_journal import Spending
from codetool.types import Task


def find_reached_limit(config: RunConfig, path: Path) -> str | None:
    """Return the limit of the run's budget that its commands have reached so far, None if all hold."""
    if not config.run_budget.is_set:
        return None
    return RunLimit(config.run_budget, Spending(path), find_rates(config)).find_exhausted()


def write_summary(path: Path, tasks: Sequence[Task], config: RunConfig, judging: Mapping[str, Any]) -> RunSummary:
    """Write `metrics.json` and the report, and return the summary."""
    templates = {task.id: task.template for task in tasks}
    lines = load_result_lines(path, templates)
    groups = {task.id: task.group for task in tasks}
    originals = map_to_originals(tasks)
    summary = summarize_results(
        lines, len(tasks), seed=config.seed, templates=templates, groups=groups, originals=originals
    )
    servers = list(journal.read_records(path / USAGE_FILE))
    content = encode_summary(summary) | ({"servers": servers} if servers else {})
    content |= {"judge": dict(judging)} if judging else {}
    content |= {"tools": counts} if (counts := read_counts(path, groups)) else {}
    content |= {"faults": faults} if (faults := read_faults(path)) else {}
    content |= {"sandbox": events} if (events := read_sandbox_events(path)) else {}
    content |= {"spent": spent} if (spent := summarize_spent(path, find_rates(config))) else {}
    if (limit := find_reached_limit(config, path)) and (summary.missing or any(map(is_stopped_by_run, lines))):
        content["run_budget"] = describe_stop(limit, config.run_budget, lines, len(tasks))
    content["code"] = count_results_by_code(path, len(run_folder.read_finished(path)))
    journal.atomic_write(path / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_report_if_possible(path, lines, summary, tasks)
    return summary
