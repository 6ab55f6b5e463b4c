"""Summarize what the tasks of a run cost: for each solved task, their latency, and the steps that could be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.intervals import bootstrap_ratio
from codetool.runs.repeats import find_task_id

TOKENS_OF_THE_METHOD = ("tokens_in", "tokens_out", "prm_tokens", "answer_tokens_in", "answer_tokens_out")
"""Amounts of a ledger that add up to the tokens of policy, PRM and answer."""
QUANTILES = {"seconds_p50": 0.5, "seconds_p95": 0.95}
"""Metrics of the latency of a task, with the share of tasks that are at most as slow."""

Aggregate = dict[str, float | None]
"""The `value` of a metric with the bounds `low` and `high` of its interval, and the number `n` of its tasks."""


def summarize_costs(lines: Sequence[Mapping[str, Any]], *, seed: int) -> dict[str, Aggregate]:
    """Return the metrics of cost by name; those are missing that the lines do not have or that no solved task has.

    What failed and unsolved tasks have cost counts, so a cost per solved task is the whole cost by the solved tasks.
    Intervals draw tasks, each with all its repeats.
    """
    priced = [line for line in lines if "ledger" in line]
    aggregates = _summarize_executions(priced, seed)
    solved = [float(line["success"] is True) for line in priced]
    for name, amounts in _list_costs(priced).items():
        if sum(solved) and None not in amounts:
            known = [amount for amount in amounts if amount is not None]
            aggregates[name] = _divide(known, solved, priced, seed)
    return aggregates | _measure_latency(lines)


def _summarize_executions(priced: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Aggregate]:
    counted = [line for line in priced if "executions_ran" in line["ledger"]]  # older lines do not tell
    ran, executed = ([float(line["ledger"][name]) for line in counted] for name in ("executions_ran", "executions"))
    return {"executable_rate": _divide(ran, executed, counted, seed)} if sum(executed) else {}


def _list_costs(priced: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Return the amount of each line by the metric whose numerator they add up to; None where unknown."""
    tokens = [float(sum(line["ledger"].get(name, 0) for name in TOKENS_OF_THE_METHOD)) for line in priced]
    return {
        "tokens_per_solved": list(tokens),
        "seconds_per_solved": [line["seconds"] for line in priced],
        "usd_per_solved": [line["ledger"].get("usd") for line in priced],
        "flops_per_solved": [line["ledger"].get("flops") for line in priced],
    }


def _divide(
    numerators: Sequence[float], denominators: Sequence[float], lines: Sequence[Mapping[str, Any]], seed: int
) -> Aggregate:
    above, below = (_sum_by_task(amounts, lines) for amounts in (numerators, denominators))
    interval = bootstrap_ratio(above, below, seed=seed)
    low, high = interval or (None, None)
    return {"value": sum(numerators) / sum(denominators), "low": low, "high": high, "n": len(above)}


def _sum_by_task(amounts: Sequence[float], lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the sum over the repeats of each task, since the repeats of a task resemble each other."""
    sums: dict[str, float] = {}
    for amount, line in zip(amounts, lines, strict=True):
        task = find_task_id(line)
        sums[task] = sums.get(task, 0.0) + amount
    return list(sums.values())


def _measure_latency(lines: Sequence[Mapping[str, Any]]) -> dict[str, Aggregate]:
    """Return quantiles of the seconds of tasks that did not fail internally, interpolated between the two nearest."""
    seconds = sorted(line["seconds"] for line in lines if "seconds" in line and not is_internal(line))
    if not seconds:
        return {}
    return {
        name: {"value": _interpolate(seconds, share), "low": None, "high": None, "n": len(seconds)}
        for name, share in QUANTILES.items()
    }


def _interpolate(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])
