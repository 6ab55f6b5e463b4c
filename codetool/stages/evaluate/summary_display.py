"""Print the summary of a run on standard output: its metrics, notes on them, and its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codetool.evaluation.metric_format import format_metric
from codetool.evaluation.summary import RunSummary
from codetool.stages.evaluate.spent_summary import build_spent_table, describe_lost
from codetool.stages.evaluate.tool_counts import read_counts
from codetool.stages.fault_journal import describe_faults

FILES = (
    "report.html",
    "results.jsonl",
    "trees.jsonl",
    "candidates.jsonl",
    "votes.jsonl",
    "metrics.json",
    "config.yaml",
    "log.txt",
)
FAILURES_SHOWN = 5
EVENT_TEXTS = {
    "restarts": "times it died and was started again",
    "interrupted:outside": "steps whose process was killed from outside",
    "interrupted:memory": "steps stopped by executor.total_memory",
    "interrupted:sandbox": "steps ended with the sandbox",
    "interrupted:unknown": "steps whose process ended for an unknown reason",
    "replaced_functions": "steps after code that replaced functions of the interpreter",
}
"""What is printed of an event of the sandbox. An interrupted step was run again and has no failure for it."""
GROUP_METRICS = frozenset({"success", "sopr", "sowr", "scep", "correct_path"})
"""Metrics shown for each group of tasks."""


def print_summary(summary: RunSummary, folder: Path, console: Console, kept: str | None = None) -> None:
    """Print every metric with its interval, notes on the task counts, the files, and a link to the report.

    `kept` is a message that replaces the list of files if they will not be kept.
    """
    console.print(build_metrics_table(summary))
    if summary.groups:
        console.print(build_groups_table(summary))
    content = json.loads((folder / "metrics.json").read_text())
    spent = content.get("spent", {})
    if (table := build_spent_table(spent)) is not None:
        console.print(table)
    for line in (
        *_describe_tasks(summary),
        *describe_lost(spent, summary.totals),
        *([content["run_budget"]] if "run_budget" in content else []),
        *describe_judging(summary, folder),
        *describe_unreachable(folder),
        *describe_faults(folder),
        *describe_sandbox_events(folder),
        *describe_untrained_prm(_read_settings(folder)),
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if kept is not None:
        console.print(kept, markup=False, highlight=False, soft_wrap=True)
        return
    files = [name for name in FILES if (folder / name).is_file()]
    console.print(f"files in {folder}: {', '.join(files)}", highlight=False, soft_wrap=True)
    if FILES[0] in files:
        link = (folder / FILES[0]).resolve().as_uri()
        console.print(f"report: {link}", markup=False, highlight=False, soft_wrap=True)


def build_metrics_table(summary: RunSummary) -> Table:
    """Return a table of the metrics with their intervals and numbers of tasks."""
    table = Table("metric", "value", "95 % interval", "tasks", box=None, pad_edge=False, header_style="bold")
    for name, metric in summary.metrics.items():
        value, low, high = (format_metric(name, metric[key]) for key in ("value", "low", "high"))
        table.add_row(name, value, f"{low} … {high}" if low and high else "–", f"{metric['n']:.0f}")
    return table


def build_groups_table(summary: RunSummary) -> Table:
    """Return a table of the main metrics of each group of tasks."""
    names = [name for name in summary.metrics if name in GROUP_METRICS]
    table = Table("group", *names, "tasks", box=None, pad_edge=False, header_style="bold")
    for group, group_summary in summary.groups.items():
        values = [
            format_metric(name, group_summary.metrics[name]["value"]) if name in group_summary.metrics else "–"
            for name in names
        ]
        table.add_row(group, *values, str(group_summary.asked))
    return table


def describe_judging(summary: RunSummary, folder: Path) -> Iterator[str]:
    """Yield lines on the spread of a judge's metrics and on the judge's cost, if answers were judged."""
    judge = json.loads((folder / "metrics.json").read_text()).get("judge")
    if judge is None:
        return
    if rate := summary.metrics.get("sopr"):
        error, deviation = (format_metric("sopr", rate[name]) for name in ("standard_error", "vote_deviation"))
        yield f"sopr: standard error over tasks {error or 'unknown'}, deviation over rounds of votes {deviation}"
    if wins := summary.metrics.get("sowr"):
        yield f"sowr: {wins['win']:.0f} wins, {wins['tie']:.0f} ties, {wins['loss']:.0f} losses; a tie is half a win"
    counts = (
        f"{judge['votes']:,} votes, {judge['second_looks']:,} after a second look, {judge['unreadable']:,} unreadable"
    )
    yield escape(f"judge {judge['model']}: {counts}; {judge['tokens_in']:,} tokens in, {judge['tokens_out']:,} out")


def describe_unreachable(folder: Path) -> Iterator[str]:
    """Yield a line if calls to live services had no answer; their tasks failed internally."""
    counts = read_counts(folder)
    if failed := counts.get("failures", {}).get("unreachable"):
        yield (
            f"{failed} of {counts['calls']} tool calls had no answer after every attempt; the same command tries their "
            "tasks again"
        )


def describe_sandbox_events(folder: Path) -> Iterator[str]:
    """Yield a line if the sandbox or processes of steps were ended from outside."""
    if events := json.loads((folder / "metrics.json").read_text()).get("sandbox"):
        yield f"sandbox: {', '.join(f'{EVENT_TEXTS.get(name, name)}: {count}' for name, count in events.items())}"


def describe_untrained_prm(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line if the PRM of these settings is untrained; nothing is known of a PRM on a running server."""
    prm = settings.get("prm")
    if not isinstance(prm, dict):
        return
    if _is_untrained(prm):
        yield "The PRM is untrained: prm.path is null, so the model judges zero-shot."
    members = prm.get("members")
    for name, member in members.items() if isinstance(members, dict) else ():
        if isinstance(member, dict) and _is_untrained(member):
            yield f"Member {name} of the PRM is untrained: prm.members.{name}.path is null, so it judges zero-shot."


def _is_untrained(prm: Mapping[str, Any]) -> bool:
    return bool(prm.get("model")) and prm.get("path", "") is None and not prm.get("base_url")


def _read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run folder; empty if it has no `config.yaml`."""
    file = folder / "config.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.is_file() else {}


def _describe_tasks(summary: RunSummary) -> Iterator[str]:
    asked = f"{summary.asked} task{'' if summary.asked == 1 else 's'} asked for"
    if summary.repeats > 1:
        tasks = summary.asked // summary.repeats
        times = f"each {summary.repeats} times; of {summary.asked} searches"
        asked = f"{tasks} task{'' if tasks == 1 else 's'} asked for, {times}"
    yield f"{asked}, {summary.answered} with an answer, {summary.finished} with a finished path"
    if not summary.checkable and "sopr" not in summary.metrics:
        yield "success: this benchmark has no checked answers, so none is reported"
    elif 0 < summary.checkable < summary.asked:
        yield f"success counts the {summary.checkable // summary.repeats} tasks whose answer can be checked"
    if summary.errors:
        kinds = ", ".join(f"{kind} {count}" for kind, count in summary.errors.items())
        yield escape(f"not solved, by reason: {kinds}")
    if summary.stopped:
        yield escape(f"ended by a budget: {', '.join(f'{name} {count}' for name, count in summary.stopped.items())}")
    if summary.failures:
        kinds = ", ".join(f"{kind} {count}" for kind, count in summary.failure_kinds.items())
        counted = f"{len(summary.failures)} tasks failed internally and count as unsolved ({escape(kinds)})"
        yield f"[red]{counted}; the same command tries them again:[/red]"
    for failure in summary.failures[:FAILURES_SHOWN]:
        yield escape(f"  {failure.task_id}: {failure.message}")
    if len(summary.failures) > FAILURES_SHOWN:
        yield f"  … and {len(summary.failures) - FAILURES_SHOWN} more in results.jsonl"
