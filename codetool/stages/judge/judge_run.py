"""The judging of answers at the end of stage=evaluate, and what it has in common with stage=judge."""

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
from codetool.stages.scoring_progress import ScoringProgress
from codetool.types import Task

log = logging.getLogger(__name__)


def needs_judge(config: RunConfig) -> bool:
    """Whether the run has its answers judged when its tasks are done. stage=collect has leaves judged instead."""
    return config.stage == "evaluate" and not isinstance(config.judge, NoJudge)


def check_judge_reachable(config: RunConfig) -> None:
    """Raises CodeToolError for a judge that is wanted and would only be missed when the tasks are done."""
    judges_leaves = config.stage == "collect" and config.collect.leaf_success != "executed"
    if needs_judge(config) or (judges_leaves and not isinstance(config.judge, NoJudge)):
        asyncio.run(config.judge.probe())


def judge_answers(config: RunConfig, folder: Path, tasks: Sequence[Task], console: Console) -> dict[str, Any]:
    """What judging the tasks that have a result came to: judge, votes, tokens; empty where nobody judges.

    The folder has its `judged.jsonl` afterwards, or none if this raises, which it does as the judge's client does.
    """
    judged_results.delete_judged_lines(folder)
    if not needs_judge(config):
        return {}
    known = {task.id: task for task in tasks}
    found = list(load_judge_inputs(folder, known))
    with show_vote_progress(
        config.judge, [config.judge.build_vote_requests(case) for case in found], folder, config.seed, console
    ) as count:
        judgements = asyncio.run(config.judge.judge(found, folder / VOTES_FILE, config.seed, count))
    judged_results.write_judged_lines(
        folder, (judged_results.build_judged_line(case, each) for case, each in zip(found, judgements, strict=True))
    )
    return summarize_verdicts(config.judge, judgements)


def load_judge_inputs(folder: Path, known: Mapping[str, Task] | None = None) -> Iterator[JudgeInput]:
    """The cases of a run folder's results, of the `known` tasks in their order if they are given, else sorted by id.

    Without a task its tools are missing.
    """
    lines = read_results(folder, known)
    trees = TreeFile(folder / TREES)
    for line in lines:
        task_id = line["task_id"]
        nodes = next(map(parse_nodes, trees.read_trees([task_id])), ())
        yield JudgeInput.from_result(line, nodes, (known or {}).get(task_id))


@contextmanager
def show_vote_progress(
    judge: Judge, ballots: Iterable[Sequence[VoteRequest]], folder: Path, seed: int, console: Console
) -> Iterator[OnVote]:
    """Counts votes and shows it while the context is open, if there are any to be asked for."""
    wanted = [ballot for each in ballots for ballot in each]
    missing = count_missing_votes(wanted, judge.build_vote_settings(seed), folder / VOTES_FILE) if wanted else 0
    if not missing:
        yield lambda vote: None
        return
    bar = ScoringProgress(missing, 0, console, "votes", "looks")

    def count(vote: Vote) -> None:
        bar.count(vote.looks, vote.tokens_in + vote.tokens_out)

    with bar:
        yield count


def summarize_verdicts(judge: Judge, judgements: Sequence[Judgement], further: Sequence[Vote] = ()) -> dict[str, Any]:
    """What judging came to, for `metrics.json`; what went wrong is told."""
    counts = count_votes([*(vote for each in judgements for vote in each.votes), *further])
    if counts["unreadable"]:
        log.warning(
            "%d of %d votes of %s cannot be read: they count as Unsolved, or as equal. votes.jsonl has what was said; "
            "judge.max_tokens=%d may be too few. The same command asks for these votes again.",
            counts["unreadable"], counts["votes"], judge.model, judge.max_tokens,
        )  # fmt: skip
    usd = judge.usd(counts["tokens_in"], counts["tokens_out"])
    return {"model": judge.model, **counts} | ({"usd": usd} if usd is not None else {})
