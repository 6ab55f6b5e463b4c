"""The metrics of one task; CONTRACTS names them, `summary` aggregates them.

The path metrics compare the calls of the chosen path with the gold path, both written as `GET /path/{template}`. Calls
count in the order in which they were made, answered or not; a call that matched no document counts under its own URL,
so it is never gold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from codetool.types import Ledger, Node, SearchResult, Task

Metrics = dict[str, float | bool | None]

RATES = ("success", "correct_path", "correct_path_set")
"""Metrics that are true or false."""
SHARES = ("sopr", "sowr", "scep", "path_recall", "path_precision")
"""Metrics in [0, 1] that a task without a result has at 0."""
AMOUNTS = (
    "delta_length", "tokens_in", "tokens_out", "prm_tokens", "prm_tokens_computed", "executions", "tool_calls",
    "seconds", "usd",
)  # fmt: skip
"""Metrics without a bound: calls, tokens, runs, seconds, USD."""


def compute_metrics(
    task: Task, result: SearchResult | None, success: bool | None, seconds: float, spent: Ledger | None = None
) -> Metrics:
    """Every metric of the task, None for those it does not have: path metrics need gold, `success` a checked answer.

    Without a result, after an internal failure, the task has done nothing right; `spent` is then what it had cost.
    """
    steps = result.best.path if result else ()
    ledger = result.ledger if result else spent or Ledger()
    return {
        "success": success,
        "scep": compute_scep(steps),
        **compute_path_metrics(task.gold, list(list_called_endpoints(steps))),
        "tokens_in": ledger.tokens_in,
        "tokens_out": ledger.tokens_out,
        "prm_tokens": ledger.prm_tokens,
        "prm_tokens_computed": ledger.prm_tokens_computed,
        "executions": ledger.executions,
        "tool_calls": ledger.tool_calls,
        "seconds": seconds,
        "usd": ledger.usd,
    }


def compute_scep(steps: Sequence[Node]) -> float:
    """Share of the chosen path's steps that ran: no exception, no unanswered tool call; a final text counts as run.

    0 for a path without steps.
    """
    return sum(node.spot for node in steps) / len(steps) if steps else 0.0


def compute_path_metrics(gold: Sequence[str], calls: Sequence[str]) -> Metrics:
    """How the calls compare with the gold path; all None where there is no gold.

    Recall and precision are over distinct endpoints, as is `correct_path_set`; `correct_path` asks for the gold calls
    in their order, others between them allowed. `delta_length` counts calls, repeated ones too.
    """
    if not gold:
        return dict.fromkeys(("correct_path", "correct_path_set", "path_recall", "path_precision", "delta_length"))
    found = set(gold) & set(calls)
    return {
        "correct_path": is_subsequence(gold, calls),
        "correct_path_set": found == set(gold),
        "path_recall": len(found) / len(set(gold)),
        "path_precision": len(found) / len(set(calls)) if calls else 0.0,
        "delta_length": len(calls) - len(gold),
    }


def list_called_endpoints(steps: Sequence[Node]) -> Iterator[str]:
    """The endpoints that the steps called, in order."""
    for node in steps:
        for answer in node.execution.calls if node.execution else ():
            yield answer.call.endpoint or f"{answer.call.method} {answer.call.url}"


def is_subsequence(gold: Sequence[str], calls: Sequence[str]) -> bool:
    """Whether the gold calls occur in this order, with any others between them."""
    rest = iter(calls)
    return all(endpoint in rest for endpoint in gold)
