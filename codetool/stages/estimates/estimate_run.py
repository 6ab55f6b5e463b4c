"""Estimate what the tasks of a run that are not done yet will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    It is measured if a few tasks are done, else the most that the search may ask for.
    """
    rates = find_rates(config)
    left = [task for task in tasks if task.id not in done]
    measured = estimate_from_results(folder, list(done.values()), len(left), rates) if left else None
    return measured or estimate_by_bound(config, left, rates)
