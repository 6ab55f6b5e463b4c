"""The result of a stage's run, for the command line, for sweeps, and for the next stage of a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.tracking.run_content import SyncStatus


@dataclass(frozen=True)
class RunOutcome:
    """Result of a run."""

    folder: Path
    failed: int = 0
    """Tasks that failed internally."""
    tasks: tuple[str, ...] = ()
    """Ids of the requested tasks; empty for a stage without tasks of a benchmark."""
    metrics: Mapping[str, Any] | None = None
    """The content of `metrics.json`; None for a dry run."""
    tracked: SyncStatus | None = None
    estimate: Mapping[str, Any] | None = None
    """What a dry run expects the tasks to cost, a `stages.estimates.estimate.Estimate` as JSON values."""
    usage: Sequence[str] = ()
    """Overrides by which another stage uses the model that this one has trained."""
