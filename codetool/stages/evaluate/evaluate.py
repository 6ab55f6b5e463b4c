"""stage=evaluate: a search over every task of a benchmark, journalled as it goes, measured at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from codetool.answers.composed import ByPolicy, Printed
from codetool.answers.final_answer import last_printed
from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError
from codetool.evaluation.score_task import TaskRecord, record_failure, score_task
from codetool.http.endpoint import EndpointConfig
from codetool.interfaces import Executor, ModelServers, Policy, PolicyOption, ProcessRewardModel
from codetool.model_types import Weights
from codetool.policies.recorded import ANSWER, Record, Recorded
from codetool.policies.replay import Replay
from codetool.policies.shared import SharedDraws
from codetool.prm.recorded_scores import RecordedScores
from codetool.search.expansion import Expansion
from codetool.stages.evaluate.repeat import load_recorded_scores
from codetool.stages.evaluate.reuse import load_reused_candidates
from codetool.stages.evaluate.task_progress import TaskCounts, TaskProgress
from codetool.stages.evaluate.tool_counts import append_counts
from codetool.stages.run_folder import RunFolder
from codetool.tools.broker import Broker
from codetool.types import Ledger, SearchResult, Task

TASK_LOG = "codetool.stages.evaluate.evaluate.task"
"""What went wrong with single tasks: for `log.txt` at once and the summary, not between the lines of progress."""

log = logging.getLogger(__name__)
task_log = logging.getLogger(TASK_LOG)


@dataclass(frozen=True)
class Components:
    """What a search needs, alive."""

    policy: Policy
    composer: Policy | None
    """Who writes the final answer, None where it is what the path printed."""
    prm: ProcessRewardModel | None
    executor: Executor
    broker: Broker


def evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: Callable[[Mapping[str, str]], None] = lambda layers: None,
    shared: Sequence[Path] = (),
) -> None:
    """Every task has a line in the folder's journals afterwards, with its answer or with its internal failure.

    `record_sandbox` is told what each layer of the sandbox confines, once that is known. `shared` are run folders whose
    draws are those of this run: they stand for its own. Raises MissingError, UnreachableError or SandboxError if a
    component cannot be had; then no task has been touched.
    """
    asyncio.run(_evaluate(config, folder, tasks, console, record_sandbox, shared))


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: Callable[[Mapping[str, str]], None],
    shared: Sequence[Path],
) -> None:
    left = [task for task in tasks if task.id not in folder.done]
    progress = TaskProgress(TaskCounts.from_results(folder.done, tasks), console)
    waiting = iter(left)
    async with _open_components(config, folder, left, progress, shared) as parts:
        layers = parts.executor.in_force
        await asyncio.to_thread(record_sandbox, layers)
        log.info("sandbox: %s", "; ".join(f"{layer}: {means}" for layer, means in layers.items()))
        with progress:
            workers = range(min(config.concurrency, len(left)))
            try:
                await gather_or_cancel(_run_worker(waiting, config, parts, folder, progress) for _ in workers)
            finally:
                append_counts(folder.path, parts.broker.summary())
        log.info("tools: %s", parts.broker.summary())
        for line in parts.broker.advise():
            log.warning("%s", line)
    _warn_about_unfinished(folder.done.values())


def _warn_about_unfinished(results: Iterable[Mapping[str, Any]]) -> None:
    """Say what to do where most tasks end without a last step."""
    lines = list(results)
    unfinished = sum((line.get("error") or {}).get("kind") == "unfinished" for line in lines)
    if 2 * unfinished > len(lines):
        log.warning(
            "%d of %d tasks ended unfinished: no step of theirs carries [All Finished]. More steps help with "
            "search.depth=, and answer.unfinished=last_printed takes what the last step printed for the answer.",
            unfinished,
            len(lines),
        )


@asynccontextmanager
async def _open_components(
    config: RunConfig, folder: RunFolder, tasks: Sequence[Task], progress: TaskProgress, shared: Sequence[Path]
) -> AsyncIterator[Components]:
    """The components, opened. The sandbox starts first, while this process is still small."""

    def append(records: Sequence[Record]) -> None:
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
        if shared and not isinstance(config.policy, Replay):
            policy = SharedDraws(policy, prompt=prompt, sampling=sampling, known=load_reused_candidates(shared, tasks))
        if config.reuse:  # below the run's own journal, which so holds every candidate that the run had
            policy = Recorded(
                policy, prompt=prompt, sampling=sampling, known=load_reused_candidates(config.reuse, tasks)
            )
        known = folder.known_candidates
        recorded = Recorded(
            policy, prompt=prompt, sampling=sampling, known=known, append=append, watch=progress.count_work
        )
        composer: Policy | None = None
        if isinstance(config.answer, ByPolicy) or (
            isinstance(config.policy, Replay) and not _uses_printed_answer(config)
        ):
            composer = recorded.using(config.answer.prompt, config.answer.sampling)
        elif summariser is not None:
            prompt, sampling = config.answer.prompt, config.answer.sampling
            composer = Recorded(
                summariser, prompt=prompt, sampling=sampling, known=known, append=append, purpose=ANSWER
            )
        yield Components(recorded, composer, prm, executor, broker)


@asynccontextmanager
async def _open_answer_model(config: RunConfig, servers: ModelServers) -> AsyncIterator[Policy | None]:
    """A model of its own that writes final answers, None where there is none, as in a stage without answer=."""
    if _uses_printed_answer(config) or isinstance(config.answer, ByPolicy) or isinstance(config.policy, Replay):
        yield None  # a replay repeats recorded answers, and asks no model for them
    else:
        async with cast(PolicyOption, config.answer).open(servers) as summariser:
            yield summariser


def _uses_printed_answer(config: RunConfig) -> bool:
    """Whether the final answer is what the path printed, as in stages without a setting for it."""
    return config.answer is None or isinstance(config.answer, Printed)


async def _list_weights(config: RunConfig) -> list[Weights]:
    """The weights that the run's own servers have to serve."""
    found = [await asyncio.to_thread(option.weights) for option in (config.prm, config.policy)]
    return [weights for weights in found if weights is not None]


@dataclass
class _Attempt:
    """One attempt at a task. `ledger` is what it has spent, kept where the search ends in an exception."""

    task: Task
    started: float
    ledger: Ledger = Ledger()

    @property
    def seconds(self) -> float:
        """Wall time since its start."""
        return time.monotonic() - self.started


async def _run_worker(
    waiting: Iterator[Task], config: RunConfig, parts: Components, folder: RunFolder, progress: TaskProgress
) -> None:
    """Take tasks until none is left. What goes wrong with one task is recorded in its line and stops no other."""
    for task in waiting:
        progress.count_started_task()
        attempt = _Attempt(task, time.monotonic())
        record = await _solve(attempt, config, parts)
        try:
            await asyncio.to_thread(folder.commit, record.result, record.tree)
        except OSError:
            raise  # no file can be written: the run cannot go on
        except Exception as error:  # a value that JSON does not have, from a plug-in
            record = _record_failure(attempt, error, config)
            await asyncio.to_thread(folder.commit, record.result, None)
        progress.count_result(record.result)


async def _solve(attempt: _Attempt, config: RunConfig, parts: Components) -> TaskRecord:
    """What is recorded of the task. Whatever is raised, by a benchmark's check too, is the task's internal failure."""
    try:
        result = await _search(attempt, config, parts)
        return score_task(attempt.task, result, config.benchmark, attempt.seconds)
    except (Exception, SystemExit) as error:  # a check may call sys.exit, as scripts do
        return _record_failure(attempt, error, config)


def _record_failure(attempt: _Attempt, error: BaseException, config: RunConfig) -> TaskRecord:
    """The record of a task that failed internally. The log has the traceback of what was not foreseen."""
    if isinstance(error, CodeToolError):
        task_log.warning("%s: %s", attempt.task.id, error)
    else:
        task_log.error("%s: unexpected error", attempt.task.id, exc_info=error)
    return record_failure(attempt.task, error, _add_price(attempt.ledger, config), config.benchmark, attempt.seconds)


def _add_price(ledger: Ledger, config: RunConfig) -> Ledger:
    """The ledger with its price, if that is known and nobody has set one."""
    try:
        usd = _compute_price(config, ledger) if ledger.usd is None else ledger.usd
    except Exception:  # what failed is recorded already
        usd = None
    return replace(ledger, usd=usd)


async def _search(attempt: _Attempt, config: RunConfig, parts: Components) -> SearchResult:
    task = attempt.task
    tools = parts.broker.session(task)
    async with Expansion(
        task=task,
        policy=parts.policy,
        executor=parts.executor,
        prm=parts.prm,
        reward=config.reward,
        call_tool=tools.call,
        depth=config.search.depth,
        budget=config.budget,
        seed=config.seed,
    ) as expansion:
        try:
            best = await config.search.run(expansion.root, expansion.expand)
        finally:
            attempt.ledger = expansion.ledger
        if parts.broker.fatal_error:
            raise parts.broker.fatal_error
        if tools.fatal_error:  # what the program did with a failure that is not its own says nothing about it
            raise tools.fatal_error
        result = expansion.result(best)
    usd = _compute_price(config, result.ledger)
    result = replace(result, ledger=replace(result.ledger, usd=usd))
    if parts.composer is not None:
        result = await _compose_answer(task, result, config, parts.composer)
    elif isinstance(config.answer, Printed) and config.answer.unfinished == "last_printed" and not result.best.finished:
        result = replace(result, composed=last_printed(result.best))
    attempt.ledger = result.ledger
    return result


def _compute_price(config: RunConfig, ledger: Ledger) -> float | None:
    """What the search cost in USD: the policy's tokens, and those of a PRM that has prices; None if unknown."""
    policy = config.policy.usd(ledger.tokens_in, ledger.tokens_out)
    prm = config.prm.usd(ledger.prm_tokens, 0) if isinstance(config.prm, EndpointConfig) else None
    return policy if policy is None or prm is None else policy + prm


async def _compose_answer(task: Task, result: SearchResult, config: RunConfig, composer: Policy) -> SearchResult:
    """The result with a composed answer; its tokens and its price are added to what the search took."""
    [written] = await composer.propose(task, result.best.path, 1, seed=config.seed)
    writer = config.policy if isinstance(config.answer, ByPolicy) else cast(PolicyOption, config.answer)
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
