"""Open the components of searches: sandbox, broker, policy with its recorded candidates, PRM and the answer's model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from codetool.config.run_config import RunConfig
from codetool.interfaces import (
    LogProbabilityPolicy,
    ModelServers,
    Policy,
    PolicyOption,
    PrintedAnswer,
    PRMOption,
    ProcessRewardModel,
    ReadsLogProbability,
    TokenPolicy,
)
from codetool.model_types import Weights
from codetool.policies.recorded import ANSWER_PURPOSE, CandidateRecord, RecordingPolicy
from codetool.policies.replay import ReplayPolicyConfig
from codetool.policies.shared import SharedDraws
from codetool.prm.ensemble import list_members
from codetool.prm.recorded_scores import RecordedScores
from codetool.stages.evaluate.attempt import Components
from codetool.stages.evaluate.repeat import load_recorded_scores
from codetool.stages.evaluate.reuse import load_reused_candidates
from codetool.stages.evaluate.task_price import check_flops_limit, find_rates
from codetool.types import Task


class SearchReports(Protocol):
    """Receives what searches draw, for the files of the run and its progress."""

    def add_candidates(self, records: Sequence[CandidateRecord]) -> None:
        """Record all candidates of one draw."""
        ...

    def count_work(self, tokens: int) -> None:
        """Count the new tokens of candidates that a search was given, drawn now or recorded."""
        ...


@dataclass(frozen=True)
class SearchJob:
    """What a process needs in order to search tasks of a run; it can be pickled."""

    config: RunConfig
    tasks: Sequence[Task]
    """All tasks that any process of the run may search."""
    shared: Sequence[Path] = ()
    """Run folders whose draws are reused."""


@asynccontextmanager
async def open_components(
    job: SearchJob,
    servers: AbstractAsyncContextManager[ModelServers],
    reports: SearchReports,
    known: Sequence[CandidateRecord],
    find_stop: Callable[[], str | None],
) -> AsyncIterator[Components]:
    """Open the components. The sandbox starts first, since it forks this process, which is still small.

    `known` are recorded candidates of the tasks, and `find_stop` returns the limit of the run that has been reached.
    """
    config = job.config
    async with (
        config.executor.open() as executor,
        config.tools.open(job.tasks) as broker,
        servers as model_servers,
        config.prm.open(model_servers) as prm,
        config.policy.open(model_servers) as policy,
        _open_answer_model(config, model_servers) as summariser,
    ):
        policies = _record_policies(job, policy, summariser, reports, known)
        rates = find_rates(config)
        check_flops_limit(config, rates)
        yield Components(*policies, _reuse_scores(job, prm), executor, broker, rates, find_stop)


def _record_policies(
    job: SearchJob,
    policy: Policy,
    summariser: Policy | None,
    reports: SearchReports,
    known: Sequence[CandidateRecord],
) -> tuple[RecordingPolicy, RecordingPolicy | None]:
    """Return the policy and the composer of answers, if there is one, whose candidates are reported."""
    config = job.config
    recorded = RecordingPolicy(
        _reuse_draws(policy, job),
        prompt=config.policy.prompt,
        sampling=config.policy.sampling,
        records=known,
        append=reports.add_candidates,
        on_tokens=reports.count_work,
        reads_log_probability=_reads_log_probability(config),
        records_tokens=_records_tokens(config),
    )
    if not _uses_printed_answer(config) and (_replays(config) or not isinstance(config.answer, PolicyOption)):
        return recorded, recorded.with_prompt(config.answer.prompt, config.answer.sampling)
    if summariser is None:
        return recorded, None
    return recorded, RecordingPolicy(
        summariser,
        prompt=config.answer.prompt,
        sampling=config.answer.sampling,
        records=known,
        append=reports.add_candidates,
        purpose=ANSWER_PURPOSE,
    )


def _reuse_draws(policy: Policy, job: SearchJob) -> Policy:
    """Return the policy with the draws of `shared` run folders and of `reuse`, which it does not make again."""
    config = job.config
    reads_log_probability, records_tokens = _reads_log_probability(config), _records_tokens(config)
    prompt, sampling = config.policy.prompt, config.policy.sampling
    if reads_log_probability and isinstance(policy, LogProbabilityPolicy):
        policy = policy.with_log_probability()
    if records_tokens and isinstance(policy, TokenPolicy):
        policy = policy.with_tokens()
    if job.shared and not _replays(config):
        policy = SharedDraws(
            policy,
            prompt=prompt,
            sampling=sampling,
            records=load_reused_candidates(job.shared, job.tasks),
            reads_log_probability=reads_log_probability,
            records_tokens=records_tokens,
        )
    if not config.reuse:
        return policy
    records = load_reused_candidates(config.reuse, job.tasks)
    return RecordingPolicy(policy, prompt=prompt, sampling=sampling, records=records)


def _reuse_scores(job: SearchJob, prm: ProcessRewardModel | None) -> ProcessRewardModel | None:
    """Return the PRM with the scores that a replay's sources have recorded."""
    if prm is not None and (scores := load_recorded_scores(job.config, job.tasks)):
        return RecordedScores(prm, scores)
    return prm


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


async def list_weights(config: RunConfig) -> list[Weights]:
    """Return the model weights that the run's own servers have to serve."""
    options: list[PRMOption | PolicyOption] = [*list_members(config.prm), config.policy]
    if isinstance(config.answer, PolicyOption):
        options.append(config.answer)
    weights_of_options = [await asyncio.to_thread(option.weights) for option in options]
    return [weights for weights in weights_of_options if weights is not None]
