"""Estimate what the tasks of a run that are not done yet will cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.stages.estimates.bound_estimate import estimate_by_bound
from codetool.stages.estimates.estimate import Estimate
from codetool.stages.estimates.measured_estimate import estimate_from_results
from codetool.stages.evaluate.task_price import find_rates
from codetool.types import Task


def estimate_run(
    config: RunConfig, folder: Path, tasks: Sequence[Task], done: Mapping[str, Mapping[str, Any]]
) -> Estimate:
    """Return the expected cost of the tasks without a result line in `done`, which has those of the folder.

    It is measured if a few tasks are done, else the most that the search may ask for. A limit of the whole run does not
    lower it: it is an assumption where it is smaller.
    """
    rates = find_rates(config)
    left = [task for task in tasks if task.id not in done]
    measured = estimate_from_results(folder, list(done.values()), len(left), rates) if left else None
    estimate = measured or estimate_by_bound(config, left, rates)
    return replace(estimate, assumptions=[*estimate.assumptions, *_list_run_limits(config, estimate)])


def _list_run_limits(config: RunConfig, estimate: Estimate) -> Iterator[str]:
    """Yield a line for each limit of the run's budget that is below the estimate."""
    amounts = {"tokens": estimate.total_tokens, "usd": estimate.usd, "seconds": estimate.seconds}
    for name, amount in amounts.items():
        limit = getattr(config.run_budget, name)
        if limit is not None and amount is not None and amount > limit:
            yield f"the run is not ended earlier by run_budget.{name}={limit:g}, which is less"
