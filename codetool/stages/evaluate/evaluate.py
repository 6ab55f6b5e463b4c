"""Run the search over every task of a benchmark and journal each result; `run` computes the metrics at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.stages.engine.engine import Engine, RunJob
from codetool.stages.evaluate.components import SearchJob
from codetool.stages.evaluate.equal_repeats import warn_of_equal_repeats
from codetool.stages.evaluate.live_metrics import log_live_metrics
from codetool.stages.evaluate.run_limit import RunLimit
from codetool.stages.evaluate.run_recorder import RunRecorder
from codetool.stages.evaluate.sandbox_events import record_sandbox_events
from codetool.stages.evaluate.task_price import find_rates
from codetool.stages.evaluate.task_progress import TaskCounts, TaskProgress
from codetool.stages.evaluate.unfinished_paths import takes_last_output, warn_about_unfinished
from codetool.stages.evaluate.unshown_steps import warn_of_unshown_steps
from codetool.stages.run_folder import RunFolder
from codetool.stages.spent_journal import Spending
from codetool.tools.miss_advice import advise_on_misses
from codetool.tracking.run_loggers import RunLoggers
from codetool.types import Task

RecordSandbox = Callable[[Mapping[str, str], Mapping[str, int]], None]
"""Called with the layers of the sandbox, and with how often what happened to it."""

log = logging.getLogger(__name__)


def evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: RecordSandbox = lambda layers, events: None,
    shared: Sequence[Path] = (),
    loggers: RunLoggers | None = None,
    spending: Spending | None = None,
) -> None:
    """Run every unfinished task, so that each has a line in the folder's journals with its answer or its failure.

    `record_sandbox` is called with the layers of the sandbox once they are known, and again whenever something has
    happened to it. `shared` are run folders whose draws this run reuses, since they would be equal. `loggers` log the
    state of the run every few seconds. `spending` is what the folder's commands have spent. Raises MissingError,
    UnreachableError or SandboxError if a component cannot be opened; then no task has been run.
    """
    spending = spending or Spending(folder.path)
    remaining = [task for task in tasks if task.id not in folder.done]
    counts = TaskCounts.from_results(folder.done, tasks)
    recorder = RunRecorder(folder, TaskProgress(counts, console), spending)
    job = RunJob(
        SearchJob(config, remaining, shared),
        sorted(remaining, key=lambda task: task.repeat),  # so that each task soon has a result
        folder.known_candidates,
        recorder,
        RunLimit(config.run_budget, spending, find_rates(config)).find_exhausted,
    )
    if remaining:
        warn_of_unshown_steps(config)
        warn_of_equal_repeats(config)
    asyncio.run(_evaluate(config, job, counts, record_sandbox, loggers or RunLoggers({})))
    warn_about_unfinished(folder.done.values(), takes_last_output(config))


async def _evaluate(
    config: RunConfig, job: RunJob, counts: TaskCounts, record_sandbox: RecordSandbox, loggers: RunLoggers
) -> None:
    async with config.engine.open(job) as engine:
        layers = engine.in_force
        await asyncio.to_thread(record_sandbox, layers, {})
        log.info("sandbox: %s", "; ".join(f"{layer}: {means}" for layer, means in layers.items()))
        watched = record_sandbox_events(engine, partial(record_sandbox, layers))
        job.recorder.spending.start_clock()
        with job.recorder.progress:
            async with watched, log_live_metrics(loggers, counts):
                await engine.run()
        _log_tool_answers(config, engine)


def _log_tool_answers(config: RunConfig, engine: Engine) -> None:
    """Log how many tool calls which source answered, and advice on hosts whose calls nobody answered."""
    answers = engine.count_answers()
    log.info("tools: %s", answers.summary())
    for line in advise_on_misses(answers.tally, config.tools, answers.recorded):
        log.warning("%s", line)
