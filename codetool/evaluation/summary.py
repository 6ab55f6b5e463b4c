"""What a run comes to: every metric over all tasks asked for, with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.intervals import Interval, bootstrap_mean, compute_wilson_interval
from codetool.evaluation.metrics import AMOUNTS, RATES, SHARES
from codetool.judges.solve_rate import compute_standard_error, compute_vote_deviation
from codetool.judges.win_rate import PREFERENCE_SCORES
from codetool.types import JSON


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed internally, because of CodeTool, a benchmark's check or a service."""

    task_id: str
    message: str
    """The exception's type and text."""


@dataclass(frozen=True)
class RunSummary:
    """Aggregates of a run and the counts that they rest on."""

    metrics: dict[str, dict[str, float | None]]
    """`{name: {value, low, high, n}}`; the interval is None where one value says nothing about spread. Where tasks come
    from templates, `template_low` and `template_high` bound the same value with whole templates drawn. `sopr` has its
    `standard_error` and `vote_deviation` too, `sowr` how often there was a `win`, a `tie` and a `loss`."""
    asked: int
    """Tasks asked for: the denominator."""
    missing: int
    """Tasks asked for of which there is no result; they count as unsolved."""
    checkable: int
    """Tasks whose answer can be checked; with 0 there is no `success`."""
    finished: int
    """Tasks whose chosen path is finished."""
    failures: tuple[TaskFailure, ...]
    """Tasks that failed internally; they count as unsolved."""
    errors: Mapping[str, int]
    """How many tasks were not solved for which reason, by the kinds of `taxonomy`; the most frequent first."""
    totals: Mapping[str, float | None] = field(default_factory=dict)
    """What all tasks together cost, by the fields of a ledger; tasks that failed internally included. `usd` is None
    unless every task has a price."""
    groups: Mapping[str, RunSummary] = field(default_factory=dict)
    """The same of each group of the benchmark's tasks, where they have groups."""


def summarize_results(
    lines: Sequence[Mapping[str, Any]],
    asked: int,
    *,
    seed: int,
    templates: Mapping[str, str | None] | None = None,
    groups: Mapping[str, str | None] | None = None,
) -> RunSummary:
    """The summary of result lines, one a task, of `asked` tasks.

    A task that failed or is missing has 0 in every rate and share that any other task of the run has: whether it could
    have had one is unknown, and a run must not gain by failing. Amounts are means over the tasks that have a result.
    `templates` names the template of each task id, `groups` the group of each task asked for.
    """
    kinds = Counter(line["error"]["kind"] for line in lines if line["error"] is not None)
    missing = max(0, asked - len(lines))
    aggregates: dict[str, dict[str, float | None]] = {}
    for name in (*RATES, *SHARES, *AMOUNTS):
        values = _collect_values(name, lines, missing)
        if values:
            aggregates[name] = _aggregate(name, values, templates or {}, seed)
    if "sopr" in aggregates:
        aggregates["sopr"] |= _compute_vote_spread(lines, _collect_values("sopr", lines, missing))
    if "sowr" in aggregates:
        preferences = Counter(line["judged"]["preference"] for line in lines if "preference" in line.get("judged", {}))
        aggregates["sowr"] |= {name: preferences[name] for name in PREFERENCE_SCORES}
    return RunSummary(
        metrics=aggregates,
        asked=asked,
        missing=missing,
        checkable=int(aggregates["success"]["n"] or 0) if "success" in aggregates else 0,
        finished=sum(line["finished"] for line in lines),
        failures=tuple(TaskFailure(line["task_id"], line["error"]["message"]) for line in lines if is_internal(line)),
        errors=dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))),
        totals=_sum_ledgers([line["ledger"] for line in lines if "ledger" in line]),
        groups={name: _summarize_group(name, lines, groups or {}, seed) for name in _list_groups(groups or {})},
    )


def _sum_ledgers(ledgers: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The sum of each field; None where a ledger has None."""
    amounts = {name: [ledger[name] for ledger in ledgers] for name in (ledgers[0] if ledgers else ())}
    return {name: None if None in each else sum(filter(None, each)) for name, each in amounts.items()}


def _list_groups(groups: Mapping[str, str | None]) -> list[str]:
    """The groups in the order of their first tasks; none where there is only one."""
    names = list(dict.fromkeys(name for name in groups.values() if name is not None))
    return names if len(names) > 1 else []


def _summarize_group(
    name: str, lines: Sequence[Mapping[str, Any]], groups: Mapping[str, str | None], seed: int
) -> RunSummary:
    tasks = {task for task, group in groups.items() if group == name}
    return summarize_results([line for line in lines if line["task_id"] in tasks], len(tasks), seed=seed)


def _collect_values(name: str, lines: Iterable[Mapping[str, Any]], missing: int) -> list[tuple[str | None, float]]:
    """Task id and value of every task that counts for the metric; a missing task has no id. Empty if none has it."""
    known, unknown = list[tuple[str | None, float]](), list[str | None]()
    for line in lines:
        value = line["metrics"].get(name)
        if value is not None and (name not in AMOUNTS or not is_internal(line)):
            known.append((line["task_id"], float(value)))
        elif is_internal(line):
            unknown.append(line["task_id"])
    if not known or name in AMOUNTS:
        return known
    return [*known, *((task_id, 0.0) for task_id in [*unknown, *[None] * missing])]


def _aggregate(
    name: str, values: Sequence[tuple[str | None, float]], templates: Mapping[str, str | None], seed: int
) -> dict[str, float | None]:
    numbers = [value for _, value in values]
    interval = (
        compute_wilson_interval(round(sum(numbers)), len(numbers))
        if name in RATES
        else bootstrap_mean(numbers, seed=seed)
    )
    if name in SHARES and len(numbers) > 1 and len(set(numbers)) == 1:
        interval = compute_wilson_interval(
            sum(numbers), len(numbers)
        )  # equal values leave nothing to draw, but are not certain
    low, high = _unpack_interval(interval)
    aggregate: dict[str, float | None] = {"value": sum(numbers) / len(numbers), "low": low, "high": high}
    aggregate["n"] = len(numbers)
    # a task without a template is a cluster of its own
    clusters = [templates.get(task_id or "") or (place,) for place, (task_id, _) in enumerate(values)]
    if any(isinstance(cluster, str) for cluster in clusters):
        low, high = _unpack_interval(bootstrap_mean(numbers, clusters, seed=seed))
        aggregate |= {"template_low": low, "template_high": high}
    return aggregate


def _compute_vote_spread(
    lines: Iterable[Mapping[str, Any]], values: Sequence[tuple[str | None, float]]
) -> dict[str, float | None]:
    """What else is said of the solve rate: its standard error over tasks, and its deviation over rounds of votes."""
    votes = [line["judged"]["labels"] for line in lines if "judged" in line]
    error = compute_standard_error([value for _, value in values])
    return {"standard_error": error, "vote_deviation": compute_vote_deviation(votes, len(values))}


def _unpack_interval(interval: Interval | None) -> tuple[float | None, float | None]:
    return interval if interval else (None, None)


def encode_summary(summary: RunSummary) -> dict[str, JSON]:
    """The content of `metrics.json`: the aggregates, the tasks they rest on, the total cost, errors by kind."""
    counts = {name: getattr(summary, name) for name in ("asked", "missing", "checkable", "finished")}
    failures = [asdict(failure) for failure in summary.failures]
    content = {"metrics": summary.metrics, "tasks": counts | {"failures": failures}, "errors": dict(summary.errors)}
    content["totals"] = dict(summary.totals)
    groups = {name: {"metrics": each.metrics, "asked": each.asked} for name, each in summary.groups.items()}
    return content | ({"groups": groups} if groups else {})
