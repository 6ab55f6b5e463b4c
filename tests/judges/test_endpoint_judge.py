"""The judge of answers, over a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat, serve_chat
from judging_world import ANN, NEVER, NOTHING, asked, judge, saying
from promptly import promptly

from codetool.errors import ConfigError, UnreachableError
from codetool.judges.endpoint_judge import count_votes
from codetool.judges.votes import VoteRequest, VoteSettings, count_missing_votes
from codetool.runs import journal

ann_is_right = saying(lambda said: "Yes." if "Ann" in said else "no, it does not")


async def test_an_answer_is_judged_by_its_query_and_text(tmp_path: Path) -> None:
    async with serve_chat(ann_is_right) as server:
        found = await judge(server.url).judge([ANN, NEVER], tmp_path / "votes.jsonl", 0)
    assert [judgement.solved for judgement in found] == [True, False]
    assert sorted(map(asked, server.requests)) == ["JUDGE When? never", "JUDGE Who? Ann"]
    assert {request["temperature"] for request in server.requests} == {0.0}


async def test_votes_that_differ_are_averaged_and_each_has_a_seed_of_its_own(tmp_path: Path) -> None:
    replies = iter(["Solved", '{"answer_status": "Unsure"}', "Unsolved", "Solved"])
    async with serve_chat(lambda body: chat(next(replies))) as server:
        [found] = await judge(server.url, votes=4, concurrency=1).judge([ANN], tmp_path / "votes.jsonl", 0)
    assert sorted(found.labels) == ["Solved", "Solved", "Unsolved", "Unsure"]
    assert found.score == pytest.approx(2.5 / 4) and found.solved
    assert len({request["seed"] for request in server.requests}) == 4


async def test_nobody_is_asked_about_an_answer_that_is_not_there(tmp_path: Path) -> None:
    async with serve_chat(ann_is_right) as server:
        [found] = await judge(server.url, votes=3).judge([NOTHING], tmp_path / "votes.jsonl", 0)
    assert found.labels == ("Unsolved",) * 3 and not server.requests
    assert count_votes(found.votes)["votes"] == 0


async def test_where_the_answer_leaves_it_unsure_the_judge_sees_the_whole_trace(tmp_path: Path) -> None:
    second = (
        "TRACE {{ query }} {{ tools }} {% for s in steps %}{{ s.code }}: {{ s.observation[:observation] }}{% endfor %}"
    )
    one = {"second_look": second + " {{ answer }}", "votes": 2}
    async with serve_chat(saying(lambda said: "Solved" if "TRACE" in said else "Unsure")) as server:
        [found] = await judge(server.url, **one).judge([ANN], tmp_path / "votes.jsonl", 0)
    assert found.labels == ("Solved", "Solved")
    assert {vote.looks for vote in found.votes} == {2}
    looks = [asked(request) for request in server.requests]
    assert looks.count("TRACE Who? (('find', 'finds people'),) find('Ann'): Ann,  Ann") == 2
    assert count_votes(found.votes) == {
        "votes": 2,
        "unreadable": 0,
        "second_looks": 2,
        "tokens_in": 40,
        "tokens_out": 24,
    }


async def test_without_a_second_look_unsure_it_stays(tmp_path: Path) -> None:
    async with serve_chat(lambda body: chat("Unsure")) as server:
        [found] = await judge(server.url).judge([ANN], tmp_path / "votes.jsonl", 0)
    assert found.labels == ("Unsure",) and found.score == 0.5 and len(server.requests) == 1


async def test_a_vote_is_asked_for_once_and_then_without_a_server(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    async with serve_chat(ann_is_right) as server:
        one = judge(server.url, votes=2)
        first = await one.judge([ANN] * 3, file, 0)
        assert len(server.requests) == 2
        await one.judge([ANN, NEVER], file, 0)
        assert len(server.requests) == 4
    assert await one.judge([ANN], file, 0) == first[:1]  # the server is gone
    assert len({line["key"] for line in journal.read_records(file)}) == 4


@pytest.mark.parametrize(
    ("change", "seed"),
    [
        ({"model": "other"}, 0),
        ({"prompt": "{{ answer }}?"}, 0),
        ({"temperature": 0.5}, 0),
        ({"max_tokens": 9}, 0),
        ({"second_look": "{{ answer }}"}, 0),
        ({}, 1),
    ],
)
async def test_another_judge_is_asked_anew(tmp_path: Path, change: dict[str, object], seed: int) -> None:
    file = tmp_path / "votes.jsonl"
    async with serve_chat(ann_is_right) as server:
        await judge(server.url).judge([ANN], file, 0)
        await judge(server.url, **change).judge([ANN], file, seed)
        assert len(server.requests) == 2


async def test_further_votes_are_asked_beside_the_old_ones(tmp_path: Path) -> None:
    async with serve_chat(ann_is_right) as server:
        for votes in (1, 3):
            await judge(server.url, votes=votes, timeout=4.0 + votes).judge([ANN], tmp_path / "votes.jsonl", 0)
        assert len(server.requests) == 3


async def test_votes_cast_until_a_failure_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"

    def breaks_down(body: dict[str, Any]) -> Reply:
        return chat("yes") if len(server.requests) == 1 else Reply(status=400, body={"error": {"message": "no more"}})

    async with serve_chat(breaks_down) as server:
        with pytest.raises(Exception, match="no more"):
            await judge(server.url, concurrency=1).judge([ANN, NEVER], file, 0)
        server.handler = ann_is_right
        await judge(server.url).judge([ANN, NEVER], file, 0)
        assert len(server.requests) == 3


async def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    statuses = iter([429, 500])

    def busy(body: dict[str, Any]) -> Reply:
        status = next(statuses, 200)
        return ann_is_right(body) if status == 200 else Reply(status=status, headers={"Retry-After": "0"})

    async with serve_chat(busy) as server:
        [found] = await judge(server.url, concurrency=1, retries=3).judge([ANN], tmp_path / "votes.jsonl", 0)
    assert found.solved and len(server.requests) == 3


async def test_an_unreadable_vote_is_unsolved_and_counted(tmp_path: Path) -> None:
    async with serve_chat(lambda body: chat("Hard to say.")) as server:
        [found] = await judge(server.url).judge([ANN], tmp_path / "votes.jsonl", 0)
    assert found.labels == ("Unsolved",)
    assert count_votes(found.votes)["unreadable"] == 1
    assert [line["said"] for line in journal.read_records(tmp_path / "votes.jsonl")] == ["Hard to say."]


@pytest.mark.parametrize("why", ["maximum context length is 9", "filtered by the content management policy"])
async def test_a_prompt_that_the_server_will_never_read_stops_no_other(tmp_path: Path, why: str) -> None:
    def refuses_ann(body: dict[str, Any]) -> Reply:
        return Reply(status=400, body={"error": {"message": why}}) if "Ann" in asked(body) else chat("yes")

    async with serve_chat(refuses_ann) as server:
        found = await judge(server.url).judge([ANN, NEVER], tmp_path / "votes.jsonl", 0)
    assert [judgement.labels for judgement in found] == [("Unsolved",), ("Solved",)]
    assert [vote.readable for judgement in found for vote in judgement.votes] == [False, True]


async def test_a_trace_that_is_too_long_leaves_the_vote_unsure(tmp_path: Path) -> None:
    def short(body: dict[str, Any]) -> Reply:
        too_long = Reply(status=400, body={"error": {"message": "too many tokens"}})
        return too_long if "TRACE" in asked(body) else chat("Unsure")

    async with serve_chat(short) as server:
        [found] = await judge(server.url, second_look="TRACE").judge([ANN], tmp_path / "votes.jsonl", 0)
    assert found.labels == ("Unsure",) and found.votes[0].readable


async def test_a_judge_that_cannot_be_asked_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"judge\.model is not set"):
        await judge("http://127.0.0.1:9/v1", model=None).probe()
    with promptly(), pytest.raises(UnreachableError, match=r"judge\.base_url"):
        await judge("http://127.0.0.1:9/v1").probe()


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "{{ anser }}"},
        {"prompt": "{% if %}"},
        {"prompt": "{{ steps }}"},
        {"second_look": "{{ step }}"},
        {"pairwise": "{{ answer }}"},
        {"base_url": "http://u:p@h/v1"},
        {"votes": 0},
        {"temperature": -1.0},
    ],
)
def test_wrong_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        judge("http://h/v1", **change)


def test_seeds_of_votes_do_not_depend_on_the_prompt() -> None:
    ballots = [VoteRequest("answer", "t1", number, "p") for number in range(50)]
    assert len({ballot.seed(0) for ballot in ballots}) == 50
    assert VoteRequest("answer", "t1", 0, "other").seed(0) == ballots[0].seed(0) != ballots[0].seed(1)


async def test_votes_that_are_missing_in_the_journal_are_counted(tmp_path: Path) -> None:
    settings = VoteSettings(model="m", temperature=0.0, max_tokens=10, seed=0)
    requests = [VoteRequest("answer", "t1", number, "Solved?") for number in range(3)]
    file = tmp_path / "votes.jsonl"
    assert count_missing_votes(requests, settings, file) == 3
    journal.append_line(file, json.dumps({"key": settings.key(requests[1]), "label": "Solved"}))
    assert count_missing_votes([*requests, requests[0]], settings, file) == 2


async def test_each_new_vote_is_reported_once_and_a_reused_one_is_not(tmp_path: Path) -> None:
    reported: list[str] = []
    async with serve_chat(ann_is_right) as server:
        for cases in ([ANN], [ANN, NEVER]):
            one = judge(server.url, votes=2)
            await one.judge(cases, tmp_path / "votes.jsonl", 0, lambda vote: reported.append(vote.label))
    assert reported == ["Solved"] * 2 + ["Unsolved"] * 2
