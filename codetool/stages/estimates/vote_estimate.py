"""Estimate the most that the missing votes of a judge cost, from their prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from codetool.config.run_config import RunConfig
from codetool.interfaces import Judge
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Judgement
from codetool.judges.votes import VOTES_FILE, Vote, VoteRequest, list_missing_votes
from codetool.stages.estimates.bound_estimate import CHARACTERS_PER_TOKEN
from codetool.stages.estimates.estimate import Estimate
from codetool.stages.evaluate.task_price import find_price

UNDECIDED = Judgement((Vote("Unsure"),))
"""What is taken for the judgement of two answers whose comparison may be asked for."""


def estimate_votes(
    config: RunConfig, folder: Path, own: Sequence[JudgeInput], other: Sequence[JudgeInput] = ()
) -> Estimate:
    """Return the most that the votes on answers cost that `folder` does not hold.

    `other` are the reference's answers to the same queries, which are judged and compared with the own ones.
    """
    judge = config.judge
    requests = [request for case in (*own, *other) for request in judge.build_vote_requests(case)]
    requests += [
        request
        for pair in (zip(own, other, strict=True) if other else ())
        for request in judge.build_comparison_requests(pair, (UNDECIDED, UNDECIDED))
    ]
    missing = list_missing_votes(requests, judge.build_vote_settings(config.seed), folder / VOTES_FILE)
    tasks = len({request.task_id for request in missing})
    if not missing:
        return Estimate(0, "votes")
    looks, read = len(missing) + sum(request.second is not None for request in missing), _count_tokens(missing, judge)
    written = looks * judge.max_tokens
    price = find_price(config, judge)
    return Estimate(
        tasks,
        "votes",
        calls={"requests of the judge": float(looks)},
        tokens={"judge": (read, float(written))},
        usd=price(round(read), written) if price else None,
        assumptions=list(_list_assumptions(judge, missing, compared=bool(other))),
    )


def _count_tokens(requests: Iterable[VoteRequest], judge: Judge) -> float:
    """Return the tokens of all prompts; a second look reads the first prompt and the reply to it again."""
    total = 0.0
    for request in requests:
        first = len(request.prompt) / CHARACTERS_PER_TOKEN
        total += first
        if request.second is not None:
            total += first + judge.max_tokens + len(request.second) / CHARACTERS_PER_TOKEN
    return total


def _list_assumptions(judge: Judge, requests: Sequence[VoteRequest], *, compared: bool) -> Iterator[str]:
    yield f"{CHARACTERS_PER_TOKEN} characters a token, and replies of judge.max_tokens={judge.max_tokens} tokens"
    if any(request.second is not None for request in requests):
        yield "every vote is Unsure, so that there is a second look"
    if compared:
        yield "both answers to every query are judged alike, so that they are compared"
