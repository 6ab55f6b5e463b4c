"""The budget of a whole run: what its commands have really spent, and whether that reaches a limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from codetool.costs.rates import Rates
from codetool.costs.run_budget import RunBudget
from codetool.stages.spent_journal import Spending

STOP_PREFIX = "run_budget."
"""Begin of the name of what stopped a task, such as `run_budget.tokens`."""
MODELS = ("policy", "prm", "answer", "simulator", "judge")
"""Components whose tokens count."""


class RunLimit:
    """Tells whether the run's budget is spent."""

    def __init__(self, budget: RunBudget, spending: Spending, rates: Rates) -> None:
        """Take the limits, what has been spent, and the prices of the models."""
        self._budget, self._spending, self._rates = budget, spending, rates

    def find_exhausted(self) -> str | None:
        """Return the limit that has been reached, such as `run_budget.tokens`, None while all hold."""
        tokens = {name: self._spending.count_tokens(name) for name in MODELS}
        name = self._budget.find_exhausted(
            tokens=sum(read + written for read, written in tokens.values()),
            usd=self._rates.compute_usd(tokens),
            seconds=self._spending.count_seconds(),
        )
        return None if name is None else STOP_PREFIX + name


def is_stopped_by_run(result: Mapping[str, Any]) -> bool:
    """Return whether the budget of the run ended the task of a result line, so that a larger one runs it again."""
    return str(result.get("stopped_by") or "").startswith(STOP_PREFIX)


def describe_stop(limit: str, budget: RunBudget, results: Iterable[Mapping[str, Any]], asked: int) -> str:
    """Return the line that says that a limit of the run was reached, and what it did to the run's tasks."""
    lines = list(results)
    stopped = sum(map(is_stopped_by_run, lines))
    value = getattr(budget, limit.removeprefix(STOP_PREFIX))
    return (
        f"{limit}={value:g} is reached: {stopped} tasks ended with their best path so far, "
        f"{max(0, asked - len(lines))} were not begun. The same command with a larger {limit} goes on."
    )
