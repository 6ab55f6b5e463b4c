"""One attempt at a task: search it, compose its answer, and score it, or record why that failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codetool.answers.final_answer import extract_last_output
from codetool.config.run_config import RunConfig
from codetool.costs.component_clock import ComponentClock
from codetool.costs.rates import Rates
from codetool.costs.usage import report_as
from codetool.errors import CodeToolError, WriteError
from codetool.evaluation.score_task import TaskRecord, record_failure, score_task_in_thread
from codetool.interfaces import Executor, Policy, ProcessRewardModel
from codetool.ledger import Ledger
from codetool.policies.recorded import CandidateRecord, RecordingPolicy
from codetool.search.expansion import Expansion
from codetool.stages.evaluate.task_price import add_price
from codetool.stages.evaluate.unfinished_paths import takes_last_output
from codetool.stages.run_log import TASK_LOG
from codetool.tools.broker import Broker
from codetool.tools.task_session import TaskSession
from codetool.types import HttpRequest, SearchResult, Task, ToolAnswer

task_log = logging.getLogger(TASK_LOG)


@dataclass(frozen=True)
class Components:
    """The open components that a search uses."""

    policy: RecordingPolicy
    composer: RecordingPolicy | None
    """Model that writes the final answer; None if the answer is what the path printed."""
    prm: ProcessRewardModel | None
    executor: Executor
    broker: Broker
    rates: Rates
    find_stop: Callable[[], str | None]
    """Returns the limit of the run's budget that has been reached, None while all hold."""

    def remember(self, records: Sequence[CandidateRecord]) -> None:
        """Give recorded candidates to the searches that begin from now on."""
        for policy in (self.policy, self.composer):
            if policy is not None:
                policy.remember(records)


@dataclass
class Attempt:
    """One attempt at a task. `ledger` is its cost so far, also after the search has raised an exception."""

    task: Task
    started: float
    clock: ComponentClock = field(default_factory=ComponentClock)
    """Measures how long each component is at work."""
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


async def solve(attempt: Attempt, config: RunConfig, parts: Components) -> TaskRecord:
    """Return the record of the task. Any exception, also one of the benchmark's check, is its internal failure.

    Raises WriteError if the run's files cannot be written.
    """
    try:
        result = await _search(attempt, config, parts)
        record = await score_task_in_thread(attempt.task, result, config.benchmark, attempt.seconds)
    except WriteError:
        raise  # of the candidates' journal; no further task could be recorded either
    except (Exception, SystemExit) as error:  # a check may call sys.exit, as scripts do
        record = make_failure_record(attempt, error, config, parts.rates)
    record.result["component_seconds"] = {name: asdict(seconds) for name, seconds in attempt.clock.read().items()}
    return record


def make_failure_record(attempt: Attempt, error: BaseException, config: RunConfig, rates: Rates) -> TaskRecord:
    """Return the record of a task that failed internally; log the traceback of an unexpected exception."""
    if isinstance(error, CodeToolError):
        task_log.warning("%s: %s", attempt.task.id, error)
    else:
        task_log.error("%s: unexpected error", attempt.task.id, exc_info=error)
    return record_failure(attempt.task, error, add_price(attempt.ledger, rates), config.benchmark, attempt.seconds)


async def _search(attempt: Attempt, config: RunConfig, parts: Components) -> SearchResult:
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
        shows_siblings=getattr(config.policy, "diversity", "none") == "shown",  # a plug-in's policy need not have it
        seconds=attempt.clock,
        rates=parts.rates,
        find_stop=parts.find_stop,
    ) as expansion:
        try:
            best = await config.search.run(expansion.root, expansion.expand)
        finally:
            attempt.ledger = expansion.ledger
        result = expansion.result(best)
    if parts.composer is not None:
        with attempt.clock.measure("answer"), report_as("answer"):
            result = await _compose_answer(task, result, config, parts.composer)
    elif takes_last_output(config) and not result.best.finished:
        result = replace(result, composed=extract_last_output(result.best))
    result = replace(result, ledger=parts.rates.apply(result.ledger))
    attempt.ledger = result.ledger
    return result


async def _compose_answer(task: Task, result: SearchResult, config: RunConfig, composer: Policy) -> SearchResult:
    """Return the result with a composed answer, whose tokens are added to the ledger."""
    [written] = await composer.propose(task, result.best.path, 1, seed=config.seed)
    ledger = result.ledger.add(answer_tokens_in=written.tokens_in, answer_tokens_out=written.tokens_out)
    if written.refused:
        task_log.warning("%s: no answer was composed: %s", task.id, written.raw)
    return replace(result, ledger=ledger, composed="" if written.refused else written.step.text)
