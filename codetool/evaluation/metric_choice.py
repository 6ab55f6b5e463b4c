"""The metrics of every stage in one form, and the one by which the cells of a sweep are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from codetool.evaluation.metric_format import format_metric, format_percent
from codetool.evaluation.metrics import AMOUNTS, POOLED_SHARES, RATES, RUN_COSTS, SHARES, TREE_SHARES, is_share

HEADLINE_METRICS = (
    "success", "sopr", "correct_path", "scep",  # answers: stage=evaluate, collect, judge
    "validation_loss",  # stage=train, which has some of the following too
    "pairwise_accuracy", "auroc", "accuracy",  # scores of steps: stage=evaluate_prm
    "loss",  # stage=train without validation
)  # fmt: skip
"""Cells are compared by the first of these metrics that they have."""
MINIMIZED_METRICS = frozenset(
    {
        "validation_loss",
        "loss",
        "log_loss",
        "brier",
        "ece",
        "selection_regret",
        "delta_length",
        *TREE_SHARES,
        *AMOUNTS,
        *RUN_COSTS,
    }
)
"""Metrics of which less is better."""
PERCENT_METRICS = frozenset(
    {*RATES, *SHARES, *TREE_SHARES, *POOLED_SHARES, "pairwise_accuracy", "accuracy", "first_error_f1"}
)
NUMBERS = ("loss", "updates", "examples_seen", "tokens_seen", "seconds")
"""Numbers of stage=train that stand beside its metrics."""

Metric = Mapping[str, float | None]
"""The `value` of a metric with the bounds `low` and `high` of its interval, None if it has none."""


def read_metrics(content: Mapping[str, Any]) -> dict[str, Metric]:
    """Return every metric in the content of a `metrics.json` by its name; counts of process data are metrics too."""
    named = [*content.get("metrics", {}).items(), *content.get("process_data", {}).items()]
    if "updates" in content:
        named += [(name, content[name]) for name in NUMBERS if name in content]
    return {name: metric for name, value in named if (metric := _to_metric(value)) is not None}


def _to_metric(value: Any) -> Metric | None:
    if isinstance(value, Mapping):
        return {name: value.get(name) for name in ("value", "low", "high")} if "value" in value else None
    return {"value": value, "low": None, "high": None} if isinstance(value, int | float) else None


def choose_headline(contents: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the metric that results are compared by; None if none of them has one."""
    metrics = [read_metrics(content) for content in contents]
    return find_headline({name for each in metrics for name, metric in each.items() if metric["value"] is not None})


def find_headline(known: Collection[str]) -> str | None:
    """Return the one of these metrics that results are compared by; None if it is none of them."""
    return next((name for name in HEADLINE_METRICS if name in known), None)


def list_metrics(contents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all metrics of the results: rates, shares and amounts of tasks first, in a fixed order."""
    found = list(dict.fromkeys(_iterate_names(contents)))
    known = [name for name in (*RATES, *SHARES, *TREE_SHARES, *AMOUNTS) if name in found]
    return [*known, *(name for name in found if name not in known)]


def _iterate_names(contents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for content in contents:
        yield from read_metrics(content)


def format_value(name: str, value: float | None) -> str:
    """Return a value as text: in percent if it is a share; empty for None."""
    if value is None:
        return ""
    if name in PERCENT_METRICS or is_share(name):
        return format_percent(value)
    if isinstance(value, int):
        return f"{value:,}"
    return format_metric(name, value, decimals=1) if name in AMOUNTS else f"{value:.4g}"
