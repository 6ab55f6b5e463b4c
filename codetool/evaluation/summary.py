"""Aggregate the metrics of a run over all requested tasks, with 95 % confidence intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codetool.evaluation.cost_summary import summarize_costs
from codetool.evaluation.error_taxonomy import get_internal_kind, is_internal
from codetool.evaluation.intervals import Interval, bootstrap_mean, compute_wilson_interval
from codetool.evaluation.metrics import AMOUNTS, RATES, SHARES, TREE_SHARES, get_metric, is_share
from codetool.evaluation.repeated_results import average_repeats, compute_pass_metrics, list_missing_tasks
from codetool.judges.solve_rate import compute_standard_error, compute_vote_deviation
from codetool.judges.win_rate import PREFERENCE_SCORES
from codetool.runs.repeats import find_task_id, get_repeat
from codetool.types import JSON

UNKNOWN_AMOUNTS = ("usd", "flops")
"""Fields of a ledger that are None where they are unknown, and unknown where an older ledger lacks them."""


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed internally: an error of CodeTool, of the benchmark's check or of a service."""

    task_id: str
    message: str
    """The exception's type and text."""


@dataclass(frozen=True)
class RunSummary:
    """Aggregated metrics of a run and the task counts behind them."""

    metrics: dict[str, dict[str, float | None]]
    """`{name: {value, low, high, n}}`; n counts tasks, and the bounds are None if there are too few for an interval. If
    each task was searched several times, `pass@k` and `pass^k` are among the metrics. If tasks come from templates,
    `template_low` and `template_high` are the bounds when whole templates are resampled. `sopr` also has its
    `standard_error` and `vote_deviation`, and `sowr` the number of each `win`, `tie` and `loss`."""
    asked: int
    """Number of requested tasks, the denominator of rates and shares; every repeat counts, as in the numbers below."""
    missing: int
    """Requested tasks without a result; they count as unsolved."""
    checkable: int
    """Tasks with a reference answer; if there are none, `success` is absent."""
    finished: int
    """Tasks whose chosen path is finished."""
    answered: int
    """Tasks with a final answer that is not empty; an unfinished path can have one too (`answer.unfinished`)."""
    failures: tuple[TaskFailure, ...]
    """Tasks that failed internally; they count as unsolved."""
    failure_kinds: Mapping[str, int]
    """Number of tasks that failed internally by the type of the exception, the most frequent first."""
    errors: Mapping[str, int]
    """Number of unsolved tasks of each kind of `error_taxonomy`, the most frequent first."""
    totals: Mapping[str, float | None] = field(default_factory=dict)
    """Total cost of all tasks by the fields of `Ledger`, including tasks that failed internally. `usd` is None unless
    every task has a price."""
    repeats: int = 1
    """How often each task was asked for."""
    stopped: Mapping[str, int] = field(default_factory=dict)
    """Number of tasks whose search a budget ended, by the name of the budget, the most frequent first."""
    groups: Mapping[str, RunSummary] = field(default_factory=dict)
    """Summary of each group of the benchmark's tasks; empty if there is at most one group."""


def summarize_results(
    lines: Sequence[Mapping[str, Any]],
    asked: int,
    *,
    seed: int,
    templates: Mapping[str, str | None] | None = None,
    groups: Mapping[str, str | None] | None = None,
    originals: Mapping[str, str] | None = None,
) -> RunSummary:
    """Aggregate result lines, one per task, of `asked` requested tasks. Each repeat of a task counts among them.

    A task that failed or is missing counts 0 in every rate and share that any other task of the run has, so that a run
    cannot gain by failing. Amounts and shares of the tree are means over the tasks that have a result. `templates`
    gives the template of each task id, and `groups` the group of each requested task. `originals` gives the benchmark's
    id of each requested task, which is another one for repeats.
    """
    missing = list_missing_tasks(map(_get_id, lines), originals or {}, max(0, asked - len(lines)))
    repeats = max([*Counter((originals or {}).values()).values(), *map(get_repeat, lines), 1])
    aggregates = _aggregate_all(lines, missing, repeats, templates or {}, seed)
    aggregates |= summarize_costs(lines, seed=seed)
    if "sopr" in aggregates:
        aggregates["sopr"] |= _compute_vote_spread(lines, _collect_values("sopr", lines, missing))
    if "sowr" in aggregates:
        preferences = Counter(line["judged"]["preference"] for line in lines if "preference" in line.get("judged", {}))
        aggregates["sowr"] |= {name: preferences[name] for name in PREFERENCE_SCORES}
    return RunSummary(
        metrics=aggregates,
        asked=asked,
        missing=len(missing),
        checkable=len(_collect_values("success", lines, missing)),
        finished=sum(line["finished"] for line in lines),
        answered=sum(bool(line.get("answer")) for line in lines),
        failures=tuple(TaskFailure(line["task_id"], line["error"]["message"]) for line in lines if is_internal(line)),
        failure_kinds=_sort_counts(get_internal_kind(line) for line in lines if is_internal(line)),
        errors=_sort_counts(line["error"]["kind"] for line in lines if line["error"] is not None),
        totals=_sum_ledgers([line["ledger"] for line in lines if "ledger" in line]),
        repeats=repeats,
        stopped=_sort_counts(line["stopped_by"] for line in lines if line.get("stopped_by")),
        groups={
            name: _summarize_group(name, lines, groups or {}, originals or {}, seed)
            for name in _list_groups(groups or {})
        },
    )


def _get_id(line: Mapping[str, Any]) -> str:
    return str(line["task_id"])


def _aggregate_all(
    lines: Sequence[Mapping[str, Any]],
    missing: Sequence[str | None],
    repeats: int,
    templates: Mapping[str, str | None],
    seed: int,
) -> dict[str, dict[str, float | None]]:
    """Return every metric that a task has, pass@k and pass^k beside the success; `repeats` of a task count as one."""
    aggregates: dict[str, dict[str, float | None]] = {}
    for name in (*RATES, *SHARES, *TREE_SHARES, *AMOUNTS):
        values = _collect_values(name, lines, missing)
        if values:
            aggregates[name] = _aggregate(name, average_repeats(values), templates, seed, repeated=repeats > 1)
        if name == "success" and repeats > 1:
            for passed, estimates in compute_pass_metrics(values).items():
                aggregates[passed] = _aggregate(passed, estimates, templates, seed, repeated=True)
    return aggregates


def _sort_counts(names: Iterable[str]) -> dict[str, int]:
    """Return how often each name occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda count: (-count[1], count[0])))


def _sum_ledgers(ledgers: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the sum of each field; None if any ledger has None in it. Older ledgers lack some fields."""
    names = dict.fromkeys(name for ledger in ledgers for name in ledger)
    amounts = {name: [ledger.get(name, None if name in UNKNOWN_AMOUNTS else 0) for ledger in ledgers] for name in names}
    return {name: None if None in values else sum(filter(None, values)) for name, values in amounts.items()}


def _list_groups(groups: Mapping[str, str | None]) -> list[str]:
    """Return the groups in the order of their first tasks; empty if there is only one."""
    names = list(dict.fromkeys(name for name in groups.values() if name is not None))
    return names if len(names) > 1 else []


def _summarize_group(
    name: str,
    lines: Sequence[Mapping[str, Any]],
    groups: Mapping[str, str | None],
    originals: Mapping[str, str],
    seed: int,
) -> RunSummary:
    tasks = {task for task, group in groups.items() if group == name}
    of_group = {repeat: task for repeat, task in originals.items() if repeat in tasks}
    selected = [line for line in lines if line["task_id"] in tasks]
    return summarize_results(selected, len(tasks), seed=seed, originals=of_group)


def _collect_values(
    name: str, lines: Iterable[Mapping[str, Any]], missing: Sequence[str | None]
) -> list[tuple[str | None, float]]:
    """Return the task and value of every line that counts for the metric; empty if none has it.

    `missing` are the tasks of missing lines, None where the task is unknown.
    """
    of_result = name in TREE_SHARES or name in AMOUNTS
    measured, unmeasured = list[tuple[str | None, float]](), list[str | None]()
    for line in lines:
        value = get_metric(line["metrics"], name)
        if value is not None and not (of_result and is_internal(line)):
            measured.append((find_task_id(line), float(value)))
        elif is_internal(line):
            unmeasured.append(find_task_id(line))
    if not measured or of_result:
        return measured
    return [*measured, *((task_id, 0.0) for task_id in [*unmeasured, *missing])]


def _aggregate(
    name: str,
    values: Sequence[tuple[str | None, float]],
    templates: Mapping[str, str | None],
    seed: int,
    *,
    repeated: bool = False,
) -> dict[str, float | None]:
    """Return the mean over tasks with its intervals. A rate that is a mean over repeats is a share of each task."""
    numbers = [value for _, value in values]
    is_rate = name in RATES and not repeated
    interval = (
        compute_wilson_interval(round(sum(numbers)), len(numbers)) if is_rate else bootstrap_mean(numbers, seed=seed)
    )
    if is_share(name) and not is_rate and len(numbers) > 1 and len(set(numbers)) == 1:
        interval = compute_wilson_interval(sum(numbers), len(numbers))  # a bootstrap of equal values has no width
    low, high = _unpack_interval(interval)
    aggregate: dict[str, float | None] = {"value": sum(numbers) / len(numbers), "low": low, "high": high}
    aggregate["n"] = len(numbers)
    # a task without a template is a cluster of its own
    clusters = [templates.get(task_id or "") or (index,) for index, (task_id, _) in enumerate(values)]
    if any(isinstance(cluster, str) for cluster in clusters):
        low, high = _unpack_interval(bootstrap_mean(numbers, clusters, seed=seed))
        aggregate |= {"template_low": low, "template_high": high}
    return aggregate


def _compute_vote_spread(
    lines: Iterable[Mapping[str, Any]], values: Sequence[tuple[str | None, float]]
) -> dict[str, float | None]:
    """Return the solve rate's standard error over tasks and its standard deviation over rounds of votes."""
    votes = [line["judged"]["labels"] for line in lines if "judged" in line]
    error = compute_standard_error([value for _, value in average_repeats(values)])
    return {"standard_error": error, "vote_deviation": compute_vote_deviation(votes, len(values))}


def _unpack_interval(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval if interval else (None, None)


def encode_summary(summary: RunSummary) -> dict[str, JSON]:
    """Return the content of `metrics.json`: metrics, task counts, errors by kind, total cost, and groups if any."""
    counts = {name: getattr(summary, name) for name in ("asked", "missing", "checkable", "finished", "answered")}
    failures = [asdict(failure) for failure in summary.failures]
    counts |= {"repeats": summary.repeats} if summary.repeats > 1 else {}
    content = {"metrics": summary.metrics, "tasks": counts | {"failures": failures}, "errors": dict(summary.errors)}
    content["internal"] = dict(summary.failure_kinds)
    content["totals"] = dict(summary.totals)
    content |= {"stopped": dict(summary.stopped)} if summary.stopped else {}
    groups = {name: {"metrics": group.metrics, "asked": group.asked} for name, group in summary.groups.items()}
    return content | ({"groups": groups} if groups else {})
