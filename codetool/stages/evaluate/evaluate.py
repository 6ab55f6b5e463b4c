"""Run the search over every task of a benchmark and journal each result; `run` computes the metrics at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig
from codetool.costs.component_clock import ComponentClock
from codetool.errors import WriteError
from codetool.interfaces import (
    LogProbabilityPolicy,
    ModelServers,
    Policy,
    PolicyOption,
    PrintedAnswer,
    PRMOption,
    ReadsLogProbability,
    TokenPolicy,
)
from codetool.model_types import Weights
from codetool.policies.recorded import ANSWER_PURPOSE, CandidateRecord, RecordingPolicy
from codetool.policies.replay import ReplayPolicyConfig
from codetool.policies.shared import SharedDraws
from codetool.prm.ensemble import list_members
from codetool.prm.recorded_scores import RecordedScores
from codetool.stages.evaluate.attempt import Attempt, Components, make_failure_record, solve
from codetool.stages.evaluate.equal_repeats import warn_of_equal_repeats
from codetool.stages.evaluate.live_metrics import log_live_metrics
from codetool.stages.evaluate.repeat import load_recorded_scores
from codetool.stages.evaluate.reuse import load_reused_candidates
from codetool.stages.evaluate.run_limit import RunLimit
from codetool.stages.evaluate.sandbox_events import record_sandbox_events
from codetool.stages.evaluate.task_price import check_flops_limit, find_rates
from codetool.stages.evaluate.task_progress import TaskCounts, TaskProgress
from codetool.stages.evaluate.unfinished_paths import takes_last_output, warn_about_unfinished
from codetool.stages.evaluate.unshown_steps import warn_of_unshown_steps
from codetool.stages.run_folder import RunFolder
from codetool.stages.run_log import TASK_LOG
from codetool.stages.spent_journal import Spending
from codetool.tracking.run_loggers import RunLoggers
from codetool.types import Task

RecordSandbox = Callable[[Mapping[str, str], Mapping[str, int]], None]
"""Called with the layers of the sandbox, and with how often what happened to it."""

log = logging.getLogger(__name__)
task_log = logging.getLogger(TASK_LOG)


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
    asyncio.run(_evaluate(config, folder, tasks, console, record_sandbox, shared, loggers or RunLoggers({}), spending))


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: RecordSandbox,
    shared: Sequence[Path],
    loggers: RunLoggers,
    spending: Spending,
) -> None:
    remaining = [task for task in tasks if task.id not in folder.done]
    if remaining:
        warn_of_unshown_steps(config)
        warn_of_equal_repeats(config)
    counts = TaskCounts.from_results(folder.done, tasks)
    progress = TaskProgress(counts, console)
    waiting = iter(sorted(remaining, key=lambda task: task.repeat))  # so that each task soon has a result
    async with _open_components(config, folder, remaining, progress, shared, spending) as parts:
        layers = parts.executor.in_force
        await asyncio.to_thread(record_sandbox, layers, {})
        log.info("sandbox: %s", "; ".join(f"{layer}: {means}" for layer, means in layers.items()))
        watched = record_sandbox_events(parts.executor, partial(record_sandbox, layers))
        spending.start_clock()
        with progress:
            async with watched, log_live_metrics(loggers, counts):
                workers = range(min(config.concurrency, len(remaining)))
                await gather_or_cancel(_run_worker(waiting, config, parts, folder, progress, spending) for _ in workers)
        log.info("tools: %s", parts.broker.summary())
        for line in parts.broker.advise():
            log.warning("%s", line)
    warn_about_unfinished(folder.done.values(), takes_last_output(config))


@asynccontextmanager
async def _open_components(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    progress: TaskProgress,
    shared: Sequence[Path],
    spending: Spending,
) -> AsyncIterator[Components]:
    """Open the components. The sandbox starts first, since it forks this process, which is still small."""

    def append(records: Sequence[CandidateRecord]) -> None:
        folder.candidates.append_all(records)
        for record in records:
            progress.count_candidate(record["tokens_out"])

    async with (
        config.executor.open() as executor,
        config.tools.open(tasks) as broker,
        config.vllm.open(await _list_weights(config), folder.path) as servers,
        config.prm.open(servers) as prm,
        config.policy.open(servers) as policy,
        _open_answer_model(config, servers) as summariser,
    ):
        if prm is not None and (scores := load_recorded_scores(config, tasks)):
            prm = RecordedScores(prm, scores)
        known = folder.known_candidates
        recorded = RecordingPolicy(
            _reuse_draws(policy, config, tasks, shared),
            prompt=config.policy.prompt,
            sampling=config.policy.sampling,
            records=known,
            append=append,
            on_tokens=progress.count_work,
            reads_log_probability=_reads_log_probability(config),
            records_tokens=_records_tokens(config),
        )
        composer: Policy | None = None
        if not _uses_printed_answer(config) and (_replays(config) or not isinstance(config.answer, PolicyOption)):
            composer = recorded.with_prompt(config.answer.prompt, config.answer.sampling)
        elif summariser is not None:
            prompt, sampling = config.answer.prompt, config.answer.sampling
            composer = RecordingPolicy(
                summariser, prompt=prompt, sampling=sampling, records=known, append=append, purpose=ANSWER_PURPOSE
            )
        rates = find_rates(config)
        check_flops_limit(config, rates)
        limit = RunLimit(config.run_budget, spending, rates)
        yield Components(recorded, composer, prm, executor, broker, rates, limit.find_exhausted)


def _reuse_draws(policy: Policy, config: RunConfig, tasks: Sequence[Task], shared: Sequence[Path]) -> Policy:
    """Return the policy with the draws of `shared` run folders and of `reuse`, which it does not make again."""
    reads_log_probability, records_tokens = _reads_log_probability(config), _records_tokens(config)
    prompt, sampling = config.policy.prompt, config.policy.sampling
    if reads_log_probability and isinstance(policy, LogProbabilityPolicy):
        policy = policy.with_log_probability()
    if records_tokens and isinstance(policy, TokenPolicy):
        policy = policy.with_tokens()
    if shared and not _replays(config):
        policy = SharedDraws(
            policy,
            prompt=prompt,
            sampling=sampling,
            records=load_reused_candidates(shared, tasks),
            reads_log_probability=reads_log_probability,
            records_tokens=records_tokens,
        )
    if not config.reuse:
        return policy
    records = load_reused_candidates(config.reuse, tasks)
    return RecordingPolicy(policy, prompt=prompt, sampling=sampling, records=records)


@asynccontextmanager
async def _open_answer_model(config: RunConfig, servers: ModelServers) -> AsyncIterator[Policy | None]:
    """Open the separate model that writes final answers; None if there is none, as in a stage without `answer`."""
    if isinstance(config.answer, PolicyOption) and not _replays(config):  # a replay reads recorded answers
        async with config.answer.open(servers) as summariser:
            yield summariser
    else:
        yield None


def _uses_printed_answer(config: RunConfig) -> bool:
    """Return whether the final answer is what the path printed, as in stages without the setting."""
    return config.answer is None or isinstance(config.answer, PrintedAnswer)


def _reads_log_probability(config: RunConfig) -> bool:
    """Whether the search or the reward reads the log-probabilities of steps."""
    parts = (config.search, config.reward)
    return any(isinstance(part, ReadsLogProbability) and part.reads_log_probability for part in parts)


def _records_tokens(config: RunConfig) -> bool:
    """Whether the candidates are recorded with their tokens, as `collect.record_tokens` has it."""
    return config.collect is not None and bool(config.collect.record_tokens)


def _replays(config: RunConfig) -> bool:
    return isinstance(config.policy, ReplayPolicyConfig)


async def _list_weights(config: RunConfig) -> list[Weights]:
    """Return the model weights that the run's own servers have to serve."""
    options: list[PRMOption | PolicyOption] = [*list_members(config.prm), config.policy]
    if isinstance(config.answer, PolicyOption):
        options.append(config.answer)
    weights_of_options = [await asyncio.to_thread(option.weights) for option in options]
    return [weights for weights in weights_of_options if weights is not None]


async def _run_worker(
    waiting: Iterator[Task],
    config: RunConfig,
    parts: Components,
    folder: RunFolder,
    progress: TaskProgress,
    spending: Spending,
) -> None:
    """Run tasks until none is left or the run's budget is spent.

    An error of one task is recorded in its line and does not stop the others.
    """
    while parts.find_stop() is None and (task := next(waiting, None)) is not None:
        progress.count_started_task()
        attempt = Attempt(task, time.monotonic(), ComponentClock(run=spending.clock))
        record = await solve(attempt, config, parts)
        try:
            await asyncio.to_thread(folder.commit, record.result, record.tree, attempt.count_calls())
        except WriteError:
            raise  # no file can be written, so the run cannot go on
        except Exception as error:  # a plug-in's value that JSON does not have
            record = make_failure_record(attempt, error, config, parts.rates)
            await asyncio.to_thread(folder.commit, record.result, None, attempt.count_calls())
        spending.add_seconds()
        progress.count_result(record.result)
