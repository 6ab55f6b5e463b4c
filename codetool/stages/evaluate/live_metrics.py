"""Log the state of a run over tasks every few seconds: tasks done, success so far, speed, cost, and errors by kind.

The names are those of the final values, so that a curve ends where the result is. The interval of the success is
Wilson's; the final one resamples tasks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from codetool.evaluation.intervals import compute_wilson_interval
from codetool.evaluation.metrics import TOKEN_METRICS
from codetool.stages.evaluate.task_progress import TaskCounts
from codetool.tracking.run_loggers import RunLoggers

LOG_SECONDS = 5.0
"""Seconds between two points."""


@asynccontextmanager
async def log_live_metrics(loggers: RunLoggers, counts: TaskCounts) -> AsyncIterator[None]:
    """Log the metrics every few seconds while the context is open, and once at its end."""
    task = asyncio.create_task(_keep_logging(loggers, counts))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        loggers.log(measure_progress(counts), counts.done)


async def _keep_logging(loggers: RunLoggers, counts: TaskCounts) -> None:
    while True:
        await asyncio.sleep(LOG_SECONDS)
        loggers.log(measure_progress(counts), counts.done)


def measure_progress(counts: TaskCounts) -> dict[str, float]:
    """Return the current values by name."""
    values: dict[str, float] = {
        "tasks/asked": counts.total,
        "tasks/failed": counts.failed,
        "candidates": counts.candidates,
        "tokens_per_second": counts.tokens / max(time.monotonic() - counts.started, 1e-9),
    }
    if (interval := compute_wilson_interval(counts.solved, counts.checked)) is not None:
        low, high = interval
        values |= {"success": counts.solved / counts.checked, "success_low": low, "success_high": high}
    if counts.done:
        values["tokens"] = sum(counts.ledger[name] for name in TOKEN_METRICS) / counts.done
    values |= {f"ledger/{name}": amount for name, amount in counts.ledger.items()}
    return values | {f"errors/{kind}": count for kind, count in counts.errors.items()}
