"""Judge the answers of a run at the end of stage=evaluate, with functions shared with stage=judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.evaluation import judged_results
from codetool.evaluation.result_files import TREES, TreeFile, read_results
from codetool.evaluation.result_records import parse_nodes
from codetool.interfaces import Judge
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Judgement, NoJudge, count_votes
from codetool.judges.votes import VOTES_FILE, OnVote, Vote, VoteRequest, count_missing_votes
from codetool.stages.evaluate.task_price import find_rates
from codetool.stages.scoring_progress import ScoringProgress
from codetool.tracking.run_loggers import RunLoggers
from codetool.types import Task

log = logging.getLogger(__name__)


def needs_judge(config: RunConfig) -> bool:
    """Return whether the run's answers are judged at its end. stage=collect judges leaves instead."""
    return config.stage in ("evaluate", "recheck") and not isinstance(config.judge, NoJudge)


def judges_leaves(config: RunConfig) -> bool:
    """Whether stage=collect may ask the judge which leaves succeed."""
    wanted = config.stage == "collect" and config.collect.leaf_success != "executed"
    return wanted and not isinstance(config.judge, NoJudge)


def check_judge_settings(config: RunConfig) -> None:
    """Raise ConfigError if a judge will be asked and its settings are incomplete. Sends no request."""
    if needs_judge(config) or judges_leaves(config):
        config.judge.build_vote_settings(config.seed)


def check_judge_reachable(config: RunConfig) -> None:
    """Raise CodeToolError if the run needs a judge that cannot be reached, before its tasks are run."""
    if needs_judge(config) or judges_leaves(config):
        asyncio.run(config.judge.probe())


def judge_answers(config: RunConfig, folder: Path, tasks: Sequence[Task], console: Console) -> dict[str, Any]:
    """Judge the tasks that have a result; return the judge's model, votes and tokens, empty without a judge.

    Writes `judged.jsonl`, which is missing if this raises. Raises what the judge's client raises.
    """
    judged_results.delete_judged_lines(folder)
    if not needs_judge(config):
        return {}
    inputs = list(load_judge_inputs(folder, {task.id: task for task in tasks}))
    with show_vote_progress(
        config.judge, [config.judge.build_vote_requests(case) for case in inputs], folder, config.seed, console
    ) as count:
        judgements = asyncio.run(config.judge.judge(inputs, folder / VOTES_FILE, config.seed, count))
    price = find_rates(config).prices.get("judge", lambda tokens_in, tokens_out: None)
    judged_results.write_judged_lines(
        folder,
        (
            judged_results.build_judged_line(case, judgement, price)
            for case, judgement in zip(inputs, judgements, strict=True)
        ),
    )
    return summarize_verdicts(config.judge, judgements)


def load_judge_inputs(folder: Path, tasks_by_id: Mapping[str, Task] | None = None) -> Iterator[JudgeInput]:
    """Yield the judge inputs of a run folder's results, for the `known` tasks in their order, else sorted by id.

    Without the task, an input lacks the tools.
    """
    lines = read_results(folder, tasks_by_id)
    trees = TreeFile(folder / TREES)
    for line in lines:
        task_id = line["task_id"]
        nodes = next(map(parse_nodes, trees.read_trees([task_id])), ())
        yield JudgeInput.from_result(line, nodes, (tasks_by_id or {}).get(task_id))


@contextmanager
def show_vote_progress(
    judge: Judge,
    requests: Iterable[Sequence[VoteRequest]],
    folder: Path,
    seed: int,
    console: Console,
    loggers: RunLoggers | None = None,
) -> Iterator[OnVote]:
    """Show and log the progress of missing votes while the context is open; yield the function that counts a vote."""
    all_requests = [request for requests_of_answer in requests for request in requests_of_answer]
    settings, file = judge.build_vote_settings(seed), folder / VOTES_FILE
    missing = count_missing_votes(all_requests, settings, file) if all_requests else 0
    if not missing:
        yield lambda vote: None
        return
    bar = ScoringProgress(missing, 0, console, "votes", "looks", loggers)

    def count(vote: Vote) -> None:
        bar.count(vote.looks, vote.tokens_in + vote.tokens_out)

    with bar:
        yield count


def summarize_verdicts(judge: Judge, judgements: Sequence[Judgement], further: Sequence[Vote] = ()) -> dict[str, Any]:
    """Return the judge's model, votes, tokens and price for `metrics.json`; log a warning of unreadable votes."""
    counts = count_votes([*(vote for judgement in judgements for vote in judgement.votes), *further])
    if counts["unreadable"]:
        log.warning(
            "%d of %d votes of %s cannot be read: they count as Unsolved, or as equal. votes.jsonl has what was said; "
            "judge.max_tokens=%d may be too few. The same command asks for these votes again.",
            counts["unreadable"], counts["votes"], judge.model, judge.max_tokens,
        )  # fmt: skip
    usd = judge.usd(counts["tokens_in"], counts["tokens_out"])
    return {"model": judge.model, **counts} | ({"usd": usd} if usd is not None else {})
