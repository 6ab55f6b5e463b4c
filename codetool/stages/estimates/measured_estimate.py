"""Estimate the cost of tasks from what finished tasks of the same folder took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from codetool.costs.rates import Rates, list_tokens
from codetool.evaluation.error_taxonomy import is_internal
from codetool.ledger import Ledger
from codetool.stages.estimates.estimate import Estimate
from codetool.stages.evaluate.run_limit import is_stopped_by_run
from codetool.stages.spent_journal import read_spent

MIN_TASKS = 3
"""Number of finished tasks from which on they are a better guide than the search's bound."""
Z_95 = 1.96


def estimate_from_results(folder: Path, done: Sequence[Mapping[str, Any]], tasks: int, rates: Rates) -> Estimate | None:
    """Return the expected cost of `tasks` more tasks; None if too few of the folder's are done."""
    lines = [line for line in done if not is_internal(line) and not is_stopped_by_run(line)]
    if len(lines) < MIN_TASKS:
        return None
    ledgers = [Ledger(**line["ledger"]) for line in lines]
    amounts = [list_tokens(ledger) for ledger in ledgers]
    tokens = {
        name: (tasks * mean(each[name][0] for each in amounts), tasks * mean(each[name][1] for each in amounts))
        for name in amounts[0]
    }
    whole = {name: (round(read), round(written)) for name, (read, written) in tokens.items()}
    sums = [float(sum(map(sum, each.values()))) for each in amounts]
    pace = read_spent(folder).get("run", Counter())["seconds"] / len(done)
    calls = {
        "steps": tasks * mean(ledger.executions for ledger in ledgers),
        "tool calls": tasks * mean(ledger.tool_calls for ledger in ledgers),
    }
    return Estimate(
        tasks,
        "measured",
        len(lines),
        calls,
        tokens,
        seconds=tasks * pace if pace else None,
        usd=rates.compute_usd(whole),
        flops=rates.count_flops(whole),
        spread=Z_95 * stdev(sums) / math.sqrt(len(sums)) / mean(sums) if mean(sums) else None,
        assumptions=[
            "the other tasks are like those that are done",
            f"the pace of the commands so far: {pace:.3g} s for each task, with as many at the same time",
        ],
    )
