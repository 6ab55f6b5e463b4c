"""Run the search over every task of a benchmark and journal each result; `run` computes the metrics at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.answers.final_answer import extract_last_output
from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, WriteError
from codetool.evaluation.score_task import TaskRecord, record_failure, score_task_in_thread
from codetool.interfaces import (
    Executor,
    ModelServers,
    Policy,
    PolicyOption,
    PrintedAnswer,
    PRMOption,
    ProcessRewardModel,
)
from codetool.model_types import Weights
from codetool.policies.recorded import ANSWER_PURPOSE, CandidateRecord, RecordingPolicy
from codetool.policies.replay import ReplayPolicyConfig
from codetool.policies.shared import SharedDraws
from codetool.prm.recorded_scores import RecordedScores
from codetool.search.expansion import Expansion
from codetool.stages.evaluate.live_metrics import log_live_metrics
from codetool.stages.evaluate.repeat import load_recorded_scores
from codetool.stages.evaluate.reuse import load_reused_candidates
from codetool.stages.evaluate.sandbox_events import record_sandbox_events
from codetool.stages.evaluate.task_price import add_price, compute_price
from codetool.stages.evaluate.task_progress import TaskCounts, TaskProgress
from codetool.stages.evaluate.unfinished_paths import takes_last_output, warn_about_unfinished
from codetool.stages.run_folder import RunFolder
from codetool.stages.run_log import TASK_LOG
from codetool.tools.broker import Broker
from codetool.tools.task_session import TaskSession
from codetool.tracking.run_loggers import RunLoggers
from codetool.types import HttpRequest, Ledger, SearchResult, Task, ToolAnswer

RecordSandbox = Callable[[Mapping[str, str], Mapping[str, int]], None]
"""Called with the layers of the sandbox, and with how often what happened to it."""

log = logging.getLogger(__name__)
task_log = logging.getLogger(TASK_LOG)


@dataclass(frozen=True)
class Components:
    """The open components that a search uses."""

    policy: Policy
    composer: Policy | None
    """Model that writes the final answer; None if the answer is what the path printed."""
    prm: ProcessRewardModel | None
    executor: Executor
    broker: Broker


def evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: RecordSandbox = lambda layers, events: None,
    shared: Sequence[Path] = (),
    loggers: RunLoggers | None = None,
) -> None:
    """Run every unfinished task, so that each has a line in the folder's journals with its answer or its failure.

    `record_sandbox` is called with the layers of the sandbox once they are known, and again whenever something has
    happened to it. `shared` are run folders whose draws this run reuses, since they would be equal. `loggers` log the
    state of the run every few seconds. Raises MissingError, UnreachableError or SandboxError if a component cannot be
    opened; then no task has been run.
    """
    asyncio.run(_evaluate(config, folder, tasks, console, record_sandbox, shared, loggers or RunLoggers({})))


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: RecordSandbox,
    shared: Sequence[Path],
    loggers: RunLoggers,
) -> None:
    remaining = [task for task in tasks if task.id not in folder.done]
    counts = TaskCounts.from_results(folder.done, tasks)
    progress = TaskProgress(counts, console)
    waiting = iter(remaining)
    async with _open_components(config, folder, remaining, progress, shared) as parts:
        layers = parts.executor.in_force
        await asyncio.to_thread(record_sandbox, layers, {})
        log.info("sandbox: %s", "; ".join(f"{layer}: {means}" for layer, means in layers.items()))
        watched = record_sandbox_events(parts.executor, partial(record_sandbox, layers))
        with progress:
            async with watched, log_live_metrics(loggers, counts):
                workers = range(min(config.concurrency, len(remaining)))
                await gather_or_cancel(_run_worker(waiting, config, parts, folder, progress) for _ in workers)
        log.info("tools: %s", parts.broker.summary())
        for line in parts.broker.advise():
            log.warning("%s", line)
    warn_about_unfinished(folder.done.values(), takes_last_output(config))


@asynccontextmanager
async def _open_components(
    config: RunConfig, folder: RunFolder, tasks: Sequence[Task], progress: TaskProgress, shared: Sequence[Path]
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
        prompt, sampling = config.policy.prompt, config.policy.sampling
        if prm is not None and (scores := load_recorded_scores(config, tasks)):
            prm = RecordedScores(prm, scores)
        if shared and not _replays(config):
            policy = SharedDraws(
                policy, prompt=prompt, sampling=sampling, records=load_reused_candidates(shared, tasks)
            )
        if config.reuse:  # inside the run's own recorder, so that its journal holds every candidate
            policy = RecordingPolicy(
                policy, prompt=prompt, sampling=sampling, records=load_reused_candidates(config.reuse, tasks)
            )
        known = folder.known_candidates
        recorded = RecordingPolicy(
            policy, prompt=prompt, sampling=sampling, records=known, append=append, on_tokens=progress.count_work
        )
        composer: Policy | None = None
        if not _uses_printed_answer(config) and (_replays(config) or not isinstance(config.answer, PolicyOption)):
            composer = recorded.with_prompt(config.answer.prompt, config.answer.sampling)
        elif summariser is not None:
            prompt, sampling = config.answer.prompt, config.answer.sampling
            composer = RecordingPolicy(
                summariser, prompt=prompt, sampling=sampling, records=known, append=append, purpose=ANSWER_PURPOSE
            )
        yield Components(recorded, composer, prm, executor, broker)


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


def _replays(config: RunConfig) -> bool:
    return isinstance(config.policy, ReplayPolicyConfig)


async def _list_weights(config: RunConfig) -> list[Weights]:
    """Return the model weights that the run's own servers have to serve."""
    options: list[PRMOption | PolicyOption] = [config.prm, config.policy]
    if isinstance(config.answer, PolicyOption):
        options.append(config.answer)
    weights_of_options = [await asyncio.to_thread(option.weights) for option in options]
    return [weights for weights in weights_of_options if weights is not None]


@dataclass
class _Attempt:
    """One attempt at a task. `ledger` is its cost so far, also after the search has raised an exception."""

    task: Task
    started: float
    ledger: Ledger = Ledger()
    tools: TaskSession | None = None
    """The tools of the search, which count its calls; None before it starts."""

    @property
    def seconds(self) -> float:
        """Wall time since the start of the attempt."""
        return time.monotonic() - self.started

    def count_calls(self) -> dict[str, Any]:
        """Return the counts of the attempt's tool calls, for its line in `tools.jsonl`; empty if it made none."""
        summary = None if self.tools is None else self.tools.summary()
        return asdict(summary) if summary is not None and summary.calls else {}


async def _run_worker(
    waiting: Iterator[Task], config: RunConfig, parts: Components, folder: RunFolder, progress: TaskProgress
) -> None:
    """Run tasks until none is left. An error of one task is recorded in its line and does not stop the others."""
    for task in waiting:
        progress.count_started_task()
        attempt = _Attempt(task, time.monotonic())
        record = await _solve(attempt, config, parts)
        try:
            await asyncio.to_thread(folder.commit, record.result, record.tree, attempt.count_calls())
        except WriteError:
            raise  # no file can be written, so the run cannot go on
        except Exception as error:  # a plug-in's value that JSON does not have
            record = _record_failure(attempt, error, config)
            await asyncio.to_thread(folder.commit, record.result, None, attempt.count_calls())
        progress.count_result(record.result)


async def _solve(attempt: _Attempt, config: RunConfig, parts: Components) -> TaskRecord:
    """Return the record of the task. Any exception, also one of the benchmark's check, is its internal failure.

    Raises WriteError if the run's files cannot be written.
    """
    try:
        result = await _search(attempt, config, parts)
        return await score_task_in_thread(attempt.task, result, config.benchmark, attempt.seconds)
    except WriteError:
        raise  # of the candidates' journal; no further task could be recorded either
    except (Exception, SystemExit) as error:  # a check may call sys.exit, as scripts do
        return _record_failure(attempt, error, config)


def _record_failure(attempt: _Attempt, error: BaseException, config: RunConfig) -> TaskRecord:
    """Return the record of a task that failed internally; log the traceback of an unexpected exception."""
    if isinstance(error, CodeToolError):
        task_log.warning("%s: %s", attempt.task.id, error)
    else:
        task_log.error("%s: unexpected error", attempt.task.id, exc_info=error)
    return record_failure(attempt.task, error, add_price(attempt.ledger, config), config.benchmark, attempt.seconds)


async def _search(attempt: _Attempt, config: RunConfig, parts: Components) -> SearchResult:
    task = attempt.task
    tools = attempt.tools = parts.broker.session(task)

    async def call_tool(request: HttpRequest) -> ToolAnswer:
        answer = await tools.call(request)
        if tools.fatal_error:  # the result would reflect a failing service and not the program
            raise tools.fatal_error
        return answer

    async with Expansion(
        task=task,
        policy=parts.policy,
        executor=parts.executor,
        prm=parts.prm,
        reward=config.reward,
        call_tool=call_tool,
        depth=config.search.depth,
        budget=config.budget,
        seed=config.seed,
    ) as expansion:
        try:
            best = await config.search.run(expansion.root, expansion.expand)
        finally:
            attempt.ledger = expansion.ledger
        result = expansion.result(best)
    result = replace(result, ledger=replace(result.ledger, usd=compute_price(config, result.ledger)))
    if parts.composer is not None:
        result = await _compose_answer(task, result, config, parts.composer)
    elif takes_last_output(config) and not result.best.finished:
        result = replace(result, composed=extract_last_output(result.best))
    attempt.ledger = result.ledger
    return result


async def _compose_answer(task: Task, result: SearchResult, config: RunConfig, composer: Policy) -> SearchResult:
    """Return the result with a composed answer, whose tokens and price are added to the ledger."""
    [written] = await composer.propose(task, result.best.path, 1, seed=config.seed)
    writer = config.answer if isinstance(config.answer, PolicyOption) else config.policy
    searched, composed = result.ledger.usd, writer.usd(written.tokens_in, written.tokens_out)
    ledger = replace(
        result.ledger,
        tokens_in=result.ledger.tokens_in + written.tokens_in,
        tokens_out=result.ledger.tokens_out + written.tokens_out,
        usd=None if searched is None or composed is None else searched + composed,
    )
    if written.refused:
        task_log.warning("%s: no answer was composed: %s", task.id, written.raw)
    return replace(result, ledger=ledger, composed="" if written.refused else written.step.text)
