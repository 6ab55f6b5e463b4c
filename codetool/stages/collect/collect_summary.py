"""Summarize stage=collect: a table on standard output, `summary.json` and the figure `summary.svg`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codetool.evaluation.charts import Chart, Line, Point, write_chart
from codetool.evaluation.error_taxonomy import TaskError
from codetool.evaluation.metric_format import format_percent
from codetool.evaluation.summary import RunSummary, TaskFailure
from codetool.process_data.process_data_summary import DepthCounts, ProcessDataCounts
from codetool.runs import journal
from codetool.stages.collect.exports import locate_export
from codetool.stages.collect.leaf_outcomes import describe_sources
from codetool.stages.evaluate.summary_display import FAILURES_SHOWN
from codetool.stages.fault_journal import describe_faults, read_faults
from codetool.types import FigureFormat

NO_ROWS = {
    **dict.fromkeys(
        ("trl_preference", "llamafactory_preference"),
        "no siblings differ in whether they ran or in their estimate; a search with search.n above 1 draws some",
    ),
    "trl_prompt_completion": "no leaf succeeds",
    **dict.fromkeys(("trl_stepwise", "verifiers"), "no leaf has a known outcome"),
}
"""Why an export has no row."""
FILES = (
    "process.jsonl", "transcripts.jsonl", "policy_steps.jsonl", "rollouts.jsonl", "reference", "exports",
    "summary.json", "summary.svg", "report.html", "results.jsonl", "trees.jsonl", "candidates.jsonl", "verdicts.jsonl",
    "metrics.json", "config.yaml", "log.txt",
)  # fmt: skip


@dataclass
class CollectSummary:
    """Counts of the process data that the trees of a run give."""

    sources: Counter[str]
    """Number of leaves by the source of their outcome."""
    counts: ProcessDataCounts = field(default_factory=ProcessDataCounts)
    examples: int = 0
    """Number of lines of `process.jsonl`."""
    dropped: int = 0
    """Steps left out of `process.jsonl` for balance."""
    unsolved: int = 0
    """Steps left out of `process.jsonl` because no leaf of their task succeeds."""
    transcripts: int = 0
    """Number of lines of `transcripts.jsonl`."""
    exports: dict[str, int] = field(default_factory=dict)
    """Number of rows by the format of an export."""
    policy_steps: int = 0
    """Number of steps in `policy_steps.jsonl`."""
    policy_steps_with_tokens: int = 0
    """Number of these steps whose tokens were recorded when they were drawn."""
    failures: dict[str, TaskError] = field(default_factory=dict)
    """Errors by id of the tasks without process data, because the outcome of a leaf could not be decided."""


def write_collect_summary(collected: CollectSummary, folder: Path, formats: Sequence[FigureFormat]) -> None:
    """Write `summary.json`, and the figure `summary` in the formats."""
    content = collected.counts.to_json() | {
        "outcomes_by": dict(collected.sources),
        "examples": collected.examples,
        "dropped_for_balance": collected.dropped,
        "dropped_as_unsolved": collected.unsolved,
        "transcripts": collected.transcripts,
        **({"exports": collected.exports} if collected.exports else {}),
        "policy_steps": collected.policy_steps,
        "policy_steps_with_tokens": collected.policy_steps_with_tokens,
        "failures": [{"task_id": task_id} | asdict(error) for task_id, error in collected.failures.items()],
    }
    content |= {"faults": faults} if (faults := read_faults(folder)) else {}
    journal.atomic_write(folder / "summary.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_chart(_build_chart(collected.counts), folder, "summary", formats)


def print_collect_summary(
    collected: CollectSummary, summary: RunSummary, folder: Path, console: Console, kept: str | None = None
) -> None:
    """Print the counts by depth, notes on them, and the files, or the message `kept` if the files are not kept."""
    names = ("depth", "sampled", "distinct", "ran", "leaves", "succeed", "mean soft")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name == "depth" else "right")
    for depth, level in sorted(collected.counts.levels.items()):
        table.add_row(str(depth), *_format_level(level))
    console.print(table)
    for line in (*_describe_data(collected, summary), *_describe_exports(collected, folder), *describe_faults(folder)):
        console.print(line, highlight=False, soft_wrap=True)
    files = [name for name in FILES if (folder / name).exists()]
    message = kept or f"files in {folder}: {', '.join(files)}"
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def _format_level(level: DepthCounts) -> Iterator[str]:
    yield f"{level.candidates:,}"
    yield f"{level.steps:,}"
    yield _share(level.ran, level.steps)
    yield f"{level.leaves:,}"
    yield _share(level.succeeded, level.leaves)
    yield f"{level.soft / level.estimated:.3f}" if level.estimated else "–"


def _share(part: int, whole: int) -> str:
    return format_percent(part / whole) if whole else "–"


def _describe_data(collected: CollectSummary, summary: RunSummary) -> Iterator[str]:
    counts = collected.counts
    sampled, distinct = counts.sum_depths("candidates"), counts.sum_depths("steps")
    yield (
        f"trees: {counts.trees:,} of {summary.asked:,} tasks, {counts.solved:,} with a leaf that succeeds; "
        f"steps: {distinct:,} distinct of {sampled:,} sampled ({_share(sampled - distinct, sampled)} duplicates)"
    )
    yield f"leaves: {counts.sum_depths('leaves'):,}: {'; '.join(describe_sources(collected.sources)) or 'none'}"
    if counts.left:
        yield (
            f"{counts.left:,} steps were left by the search before their path ended: how they would have come out is "
            "unknown, so they count neither way and have no example. search=exhaustive leaves none."
        )
    labels = counts.labels
    yield (
        f"labels: {labels[True]:,} more potential, {labels[False]:,} less, {labels[None]:,} without "
        f"(nothing tells the siblings apart); {counts.told_apart:,} of {counts.groups:,} sibling groups told apart"
    )
    left_out = [
        f"{count:,} {why}"
        for count, why in ((collected.dropped, "for balance"), (collected.unsolved, "of tasks that no leaf solves"))
        if count
    ]
    without = f", without {' and '.join(left_out)}" if left_out else ""
    yield f"process.jsonl: {collected.examples:,} examples{without}; transcripts.jsonl: {collected.transcripts:,} paths"
    if collected.policy_steps:
        yield f"policy_steps.jsonl: {collected.policy_steps:,} steps, {_describe_tokens(collected)}"
    if summary.totals:
        read, written = summary.totals["tokens_in"], summary.totals["tokens_out"]
        yield f"tokens of the policy: {read:,} read, {written:,} written"
    yield from _describe_failures(summary.failures, "tasks failed internally and have no tree:", "results.jsonl")
    undecided = [TaskFailure(task_id, error.message) for task_id, error in collected.failures.items()]
    description = "tasks failed internally since the outcome of a leaf could not be decided, and have no process data:"
    yield from _describe_failures(undecided, description, "summary.json")


def _describe_exports(collected: CollectSummary, folder: Path) -> Iterator[str]:
    for name, rows in collected.exports.items():
        why = f": {NO_ROWS[name]}" if not rows and name in NO_ROWS else ""
        yield f"export={name}: {rows:,} {'row' if rows == 1 else 'rows'} in {locate_export(folder, name)}{why}"


def _describe_tokens(collected: CollectSummary) -> str:
    """Return how many of the policy's steps have recorded tokens."""
    count = collected.policy_steps_with_tokens
    if count == collected.policy_steps:
        return "with the log-probabilities of their tokens"
    return f"{count:,} of them with the log-probabilities of their tokens (collect.record_tokens)"


def _describe_failures(failures: Sequence[TaskFailure], description: str, file: str) -> Iterator[str]:
    if failures:
        yield f"[red]{len(failures)} {description}[/red]"
    for failure in failures[:FAILURES_SHOWN]:
        yield escape(f"  {failure.task_id}: {failure.message}")
    if len(failures) > FAILURES_SHOWN:
        yield f"  … and {len(failures) - FAILURES_SHOWN} more in {file}. The same command tries them again."


def _build_chart(counts: ProcessDataCounts) -> Chart:
    levels = sorted(counts.levels.items())
    lines = [
        Line("steps that ran", [_build_point(depth, level.ran, level.steps) for depth, level in levels]),
        Line(
            "leaves that succeed",
            [_build_point(depth, level.succeeded, level.leaves) for depth, level in levels if level.leaves],
        ),
        Line(
            "mean soft estimate",
            [Point(depth, level.soft / level.estimated, None, None) for depth, level in levels if level.estimated],
        ),
        Line(
            "duplicate candidates",
            [_build_point(depth, level.candidates - level.steps, level.candidates) for depth, level in levels],
        ),
    ]
    ticks = [(float(depth), str(depth)) for depth, _ in levels]
    title = f"{counts.trees:,} rollout trees, {counts.sum_depths('steps'):,} distinct steps"
    return Chart(title, "depth (steps)", "share", lines, ticks=ticks)


def _build_point(depth: int, part: int, whole: int) -> Point:
    return Point(depth, part / whole, None, None)  # no interval: the steps of one tree are not independent
