"""Two answers to one query compared by a judge, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import serve_chat
from judging_world import ANN, NOTHING, asked, judge, saying

from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Comparison, OpenAIJudge

BEN = replace(ANN, answer="Ben")


def choosing(choose: Callable[[str], str], solved: str = "Solved") -> Callable[[str], str]:
    """Says `solved` of any answer, and compares as told."""
    return lambda said: choose(said) if "COMPARE" in said else solved


async def compared(one: OpenAIJudge, own: JudgeInput, reference: JudgeInput, file: Path) -> Comparison:
    judged = await one.judge([own, reference], file, 0)
    [found] = await one.compare([(own, reference)], [(judged[0], judged[1])], file, 0)
    return found


def prefers_ann(said: str) -> str:
    return "first" if "1. Ann" in said else "second"


@pytest.mark.parametrize(
    ("choose", "preference"),
    [
        (prefers_ann, "win"),
        (lambda said: "first", "tie"),
        (lambda said: "second", "tie"),
        (lambda said: "equal", "tie"),
        (lambda said: "hard to say", "tie"),
        (lambda said: "second" if "1. Ann" in said else '{"better": "first"}', "loss"),
    ],
)
async def test_both_orders_are_asked_for_with_every_vote(
    tmp_path: Path, choose: Callable[[str], str], preference: str
) -> None:
    async with serve_chat(saying(choosing(choose))) as server:
        found = await compared(judge(server.url, votes=2), ANN, BEN, tmp_path / "votes.jsonl")
    assert found.preference == preference
    asked_for = [asked(request) for request in server.requests if "COMPARE" in asked(request)]
    assert sorted(asked_for) == ["COMPARE Who? 1. Ann 2. Ben"] * 2 + ["COMPARE Who? 1. Ben 2. Ann"] * 2


async def test_a_solved_answer_wins_without_a_comparison(tmp_path: Path) -> None:
    async with serve_chat(saying(lambda said: "Solved" if "Ann" in said else "Unsolved")) as server:
        one = judge(server.url)
        assert (await compared(one, ANN, BEN, tmp_path / "votes.jsonl")).preference == "win"
        assert (await compared(one, BEN, ANN, tmp_path / "votes.jsonl")).preference == "loss"
    assert not any("COMPARE" in asked(request) for request in server.requests)


@pytest.mark.parametrize(("own", "other", "preference"), [("Ann", "", "win"), ("", "Ann", "loss"), ("", "", "tie")])
async def test_an_answer_wins_over_none(tmp_path: Path, own: str, other: str, preference: str) -> None:
    async with serve_chat(saying(lambda said: "Unsolved")) as server:
        pair = replace(NOTHING, answer=own), replace(NOTHING, answer=other)
        found = await compared(judge(server.url), *pair, tmp_path / "votes.jsonl")
    assert found.preference == preference and not found.votes
    assert not any("COMPARE" in asked(request) for request in server.requests)


async def test_the_same_answer_is_a_tie_and_voted_on_once(tmp_path: Path) -> None:
    async with serve_chat(saying(lambda said: "Solved")) as server:
        found = await compared(judge(server.url), ANN, ANN, tmp_path / "votes.jsonl")
    assert found.preference == "tie" and len(server.requests) == 1


async def test_comparisons_are_journalled_like_votes(tmp_path: Path) -> None:
    async with serve_chat(saying(choosing(prefers_ann))) as server:
        one = judge(server.url)
        first = await compared(one, ANN, BEN, tmp_path / "votes.jsonl")
    assert await compared(one, ANN, BEN, tmp_path / "votes.jsonl") == first  # the server is gone
