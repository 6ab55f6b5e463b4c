"""Compute the metrics of one task; `summary` aggregates them over tasks.

The path metrics compare the calls of the chosen path with the gold path, both written as `GET /path/{template}`. Calls
count in the order in which they were made, whether or not they were answered. A call that matches no documented
endpoint counts under its own URL, so it never equals a gold call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from codetool.ledger import Ledger
from codetool.types import Node, SearchResult, Task

Metrics = dict[str, float | bool | None]

RATES = ("success", "correct_path", "correct_path_set")
"""Metrics that are true or false for a task."""
SHARES = ("sopr", "sowr", "scep", "path_recall", "path_precision")
"""Metrics in [0, 1]; 0 for a task without a result."""
TREE_SHARES = ("duplicates",)
"""Shares in [0, 1] of the search tree; a task without a result has none."""
TOKEN_METRICS = ("tokens_in", "tokens_out", "prm_tokens")
"""Tokens of policy and PRM, whose sum is the metric `tokens`."""
AMOUNTS = (
    "delta_length", "tokens", *TOKEN_METRICS, "prm_tokens_computed", "executions", "tool_calls", "seconds", "usd",
    "flops",
)  # fmt: skip
"""Metrics without an upper bound: calls, tokens, executions, seconds, USD, floating-point operations."""
PASS_PREFIXES = ("pass@", "pass^")
"""Beginnings of the names of the metrics over the repeats of a task, which `repeated_results` computes."""
POOLED_SHARES = ("executable_rate",)
"""Metrics in [0, 1] of a run as a whole: sums over all tasks by sums over all tasks."""
RUN_COSTS = (
    "tokens_per_solved", "usd_per_solved", "flops_per_solved", "seconds_per_solved", "seconds_p50", "seconds_p95",
)  # fmt: skip
"""Metrics of the cost of a run as a whole."""


def is_share(name: str) -> bool:
    """Return whether a metric is a rate or share, from 0 to 1."""
    return name in (*RATES, *SHARES, *TREE_SHARES, *POOLED_SHARES) or name.startswith(PASS_PREFIXES)


def compute_metrics(
    task: Task, result: SearchResult | None, success: bool | None, seconds: float, spent: Ledger | None = None
) -> Metrics:
    """Return every metric of the task by name, None for those that it does not have.

    The path metrics need a gold path, and `success` needs a reference answer. After an internal failure there is no
    `result`; rates and shares are then 0, and `spent` holds the cost until the failure.
    """
    steps = result.best.path if result else ()
    ledger = result.ledger if result else spent or Ledger()
    return {
        "success": success,
        "scep": compute_scep(steps),
        **compute_path_metrics(task.gold, list(list_called_endpoints(steps))),
        "duplicates": compute_duplicates(result.nodes if result else ()),
        "tokens_in": ledger.tokens_in,
        "tokens_out": ledger.tokens_out,
        "prm_tokens": ledger.prm_tokens,
        "prm_tokens_computed": ledger.prm_tokens_computed,
        "executions": ledger.executions,
        "tool_calls": ledger.tool_calls,
        "seconds": seconds,
        "usd": ledger.usd,
        "flops": ledger.flops,
    }


def get_metric(metrics: Mapping[str, float | None], name: str) -> float | None:
    """Return a metric of a task from the metrics of its result line; `tokens` is the sum of those that are there."""
    if name != "tokens":
        return metrics.get(name)
    amounts = [amount for part in TOKEN_METRICS if (amount := metrics.get(part)) is not None]
    return sum(amounts) if amounts else None


def compute_scep(steps: Sequence[Node]) -> float:
    """Return SCEP, the share of correctly executed steps of the chosen path, in [0, 1]; 0 for a path without steps.

    A step counts if it raised no exception and all its tool calls were answered; a final text counts too.
    """
    return sum(node.spot for node in steps) / len(steps) if steps else 0.0


def compute_duplicates(nodes: Iterable[Node]) -> float | None:
    """Return the share of the sampled candidates that are the same program as a sibling before them, in [0, 1].

    None for a search that drew no two candidates after the same path.
    """
    drawn, programs = Counter[str](), Counter[str]()
    for node in nodes:
        if node.parent is not None:
            drawn[node.parent.id] += node.multiplicity
            programs[node.parent.id] += 1
    total = drawn.total()
    return (total - programs.total()) / total if total > len(drawn) else None


def compute_path_metrics(gold: Sequence[str], calls: Sequence[str]) -> Metrics:
    """Compare the calls with the gold path; every metric is None without a gold path.

    `path_recall`, `path_precision` and `correct_path_set` are over distinct endpoints. `correct_path` requires the gold
    calls in their order, with any others between them. `delta_length` counts all calls, repeated ones included.
    """
    if not gold:
        return dict.fromkeys(("correct_path", "correct_path_set", "path_recall", "path_precision", "delta_length"))
    called_gold = set(gold) & set(calls)
    return {
        "correct_path": is_subsequence(gold, calls),
        "correct_path_set": called_gold == set(gold),
        "path_recall": len(called_gold) / len(set(gold)),
        "path_precision": len(called_gold) / len(set(calls)) if calls else 0.0,
        "delta_length": len(calls) - len(gold),
    }


def list_called_endpoints(steps: Sequence[Node]) -> Iterator[str]:
    """Yield the endpoint of each call of the steps, in order."""
    for node in steps:
        for answer in node.execution.calls if node.execution else ():
            yield answer.call.endpoint or f"{answer.call.method} {answer.call.url}"


def is_subsequence(gold: Sequence[str], calls: Sequence[str]) -> bool:
    """Return whether the gold calls occur in this order, with any other calls between them."""
    rest = iter(calls)
    return all(endpoint in rest for endpoint in gold)
