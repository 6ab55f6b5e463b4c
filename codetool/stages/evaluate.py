"""stage=evaluate: a search over every task of a benchmark, journalled as it goes, measured at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from rich.console import Console

from codetool.answers import answer_of, last_printed
from codetool.concurrency import together
from codetool.config import RunConfig
from codetool.errors import CodeToolError
from codetool.evaluation.metrics import metrics
from codetool.evaluation.records import result_line, tree_line
from codetool.evaluation.taxonomy import judged, ours
from codetool.http.endpoint import EndpointConfig
from codetool.interfaces import Executor, ModelServers, Policy, PolicyOption, ProcessRewardModel
from codetool.policies.answering import ByPolicy, Printed
from codetool.policies.recorded import ANSWER, Recorded
from codetool.search.expansion import Expansion
from codetool.stages.progress import Display, Tally
from codetool.stages.reuse import reused
from codetool.stages.run_folder import RunFolder
from codetool.stages.tool_counts import keep_counts
from codetool.tools.broker import Broker
from codetool.types import Ledger, SearchResult, Task, Weights

TASK_LOG = "codetool.stages.evaluate.task"
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
) -> None:
    """Every task has a line in the folder's journals afterwards, with its answer or with what went wrong on our side.

    `record_sandbox` is told what each layer of the sandbox confines, once that is known.
    Raises MissingError, UnreachableError or SandboxError if a component cannot be had; then no task has been touched.
    """
    asyncio.run(_evaluate(config, folder, tasks, console, record_sandbox))


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    tasks: Sequence[Task],
    console: Console,
    record_sandbox: Callable[[Mapping[str, str]], None],
) -> None:
    left = [task for task in tasks if task.id not in folder.done]
    display = Display(Tally.of(folder.done, tasks), console)
    waiting = iter(left)
    async with _components(config, folder, left, display) as parts:
        layers = parts.executor.in_force
        await asyncio.to_thread(record_sandbox, layers)
        log.info("sandbox: %s", "; ".join(f"{layer}: {means}" for layer, means in layers.items()))
        with display:
            workers = range(min(config.concurrency, len(left)))
            try:
                await together(_work(waiting, config, parts, folder, display) for _ in workers)
            finally:
                keep_counts(folder.path, parts.broker.summary())
        log.info("tools: %s", parts.broker.summary())
        for line in parts.broker.advice():
            log.warning("%s", line)
    _warn_of_unfinished(folder.done.values())


def _warn_of_unfinished(results: Iterable[Mapping[str, Any]]) -> None:
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
async def _components(
    config: RunConfig, folder: RunFolder, tasks: Sequence[Task], display: Display
) -> AsyncIterator[Components]:
    """The components, opened. The sandbox starts first, while this process is still small."""

    def append(record: Mapping[str, Any]) -> None:
        folder.candidates.append(record)
        display.draw(record["tokens_out"])

    async with (
        config.executor.open() as executor,
        config.tools.open(tasks) as broker,
        config.vllm.open(await _planned(config), folder.path) as servers,
        config.prm.open(servers) as prm,
        config.policy.open(servers) as policy,
        _summariser(config, servers) as summariser,
    ):
        prompt, sampling = config.policy.prompt, config.policy.sampling
        if config.reuse:  # below the run's own journal, which so holds every candidate that the run had
            policy = Recorded(policy, prompt=prompt, sampling=sampling, known=reused(config.reuse, tasks))
        known = folder.known_candidates
        recorded = Recorded(policy, prompt=prompt, sampling=sampling, known=known, append=append)
        composer: Policy | None = None
        if isinstance(config.answer, ByPolicy):
            composer = recorded.using(config.answer.prompt, config.answer.sampling)
        elif summariser is not None:
            prompt, sampling = config.answer.prompt, config.answer.sampling
            composer = Recorded(
                summariser, prompt=prompt, sampling=sampling, known=known, append=append, purpose=ANSWER
            )
        yield Components(recorded, composer, prm, executor, broker)


@asynccontextmanager
async def _summariser(config: RunConfig, servers: ModelServers) -> AsyncIterator[Policy | None]:
    """A model of its own that writes final answers, None where there is none, as in a stage without answer=."""
    if config.answer is None or isinstance(config.answer, Printed | ByPolicy):
        yield None
    else:
        async with cast(PolicyOption, config.answer).open(servers) as summariser:
            yield summariser


async def _planned(config: RunConfig) -> list[Weights]:
    """The weights that the run's own servers have to serve."""
    found = [await asyncio.to_thread(option.weights) for option in (config.prm, config.policy)]
    return [weights for weights in found if weights is not None]


async def _work(
    waiting: Iterator[Task], config: RunConfig, parts: Components, folder: RunFolder, display: Display
) -> None:
    """Take tasks until none is left. What goes wrong with one task is its own line and stops no other."""
    for task in waiting:
        line, tree = await _solve(task, config, parts)
        await asyncio.to_thread(folder.commit, line, tree)
        display.count(line)


async def _solve(task: Task, config: RunConfig, parts: Components) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The task's lines for `results.jsonl` and `trees.jsonl`; no tree where we failed."""
    started = time.monotonic()
    try:
        result = await _search(task, config, parts)
    except CodeToolError as raised:
        task_log.warning("%s: %s", task.id, raised)
        failure: Exception = raised
    except Exception as raised:  # a defect of ours in one task must not lose the others; the log has the traceback
        task_log.exception("%s: unexpected error", task.id)
        failure = raised
    else:
        seconds = time.monotonic() - started
        success = config.benchmark.check(task, answer_of(result))
        error = judged(task, result, success)
        line = result_line(task, result, success, metrics(task, result, success, seconds), seconds, error)
        return line, tree_line(task, result)
    seconds = time.monotonic() - started
    unsolved = config.benchmark.check(task, None)  # false where answers are checked, None where they are not
    return result_line(task, None, unsolved, metrics(task, None, unsolved, seconds), seconds, ours(failure)), None


async def _search(task: Task, config: RunConfig, parts: Components) -> SearchResult:
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
        best = await config.search.run(expansion.root, expansion.expand)
        if parts.broker.trouble:
            raise parts.broker.trouble
        if tools.trouble:  # what the program did with a failure that is not its own says nothing about it
            raise tools.trouble
        result = expansion.result(best)
    usd = _price(config, result.ledger)
    result = replace(result, ledger=replace(result.ledger, usd=usd))
    if parts.composer is not None:
        return await _answered(task, result, config, parts.composer)
    if isinstance(config.answer, Printed) and config.answer.unfinished == "last_printed" and not result.best.finished:
        return replace(result, composed=last_printed(result.best))
    return result


def _price(config: RunConfig, ledger: Ledger) -> float | None:
    """What the search cost in USD: the policy's tokens, and those of a PRM that has prices; None if unknown."""
    policy = config.policy.usd(ledger.tokens_in, ledger.tokens_out)
    prm = config.prm.usd(ledger.prm_tokens, 0) if isinstance(config.prm, EndpointConfig) else None
    return policy if policy is None or prm is None else policy + prm


async def _answered(task: Task, result: SearchResult, config: RunConfig, composer: Policy) -> SearchResult:
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
