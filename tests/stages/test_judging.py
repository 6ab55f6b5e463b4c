"""stage=evaluate with a judge: real processes, a scripted policy and a scripted judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
import report_data
from chat_server import ChatServer, Reply, chat, serve_in_process
from command_line import CommandLine, read_lines, read_metrics

TASKS = 4
SPLIT = ("policy=openai", "policy.model=m", "search=chain", "benchmark.split=dev", f"limit={TASKS}", "logger=none")


def unsure_first(body: dict[str, Any]) -> Reply:
    """Unsure of every answer; what the trace makes of it differs by vote."""
    said = body["messages"][0]["content"]
    if "all that it did" not in said:
        return chat('{"answer_status": "Unsure", "reason": "it could be"}')
    assert "import requests" in said and "Result: " in said and "GET_" in said
    return chat("Solved" if body["seed"] % 2 else "Unsolved")


@pytest.fixture
def judge() -> Iterator[ChatServer]:
    with serve_in_process(unsure_first, Reply(body={"data": [{"id": "j"}]})) as server:
        yield server


def words(policy: ChatServer, judge: ChatServer, *more: str) -> tuple[str, ...]:
    judging = ("judge=stabletoolbench", "judge.model=j", f"judge.base_url={judge.url}")
    return (*SPLIT, f"policy.base_url={policy.url}", *judging, *more)


def test_answers_are_judged_after_the_search_and_shown_everywhere(
    run: CommandLine, policy: ChatServer, judge: ChatServer
) -> None:
    done = run(*words(policy, judge))
    assert done.returncode == 0, done.stderr
    folder = run.folder("tmdb_verified-chain")
    votes = read_lines(folder, "votes")
    assert len({line["key"] for line in votes}) == len(votes) == 3 * TASKS
    told = read_metrics(folder)
    share = sum(line["label"] == "Solved" for line in votes) / len(votes)
    assert 0 < share < 1 and told["metrics"]["sopr"]["value"] == pytest.approx(share)
    assert told["metrics"]["sopr"]["vote_deviation"] is not None
    assert told["judge"] == {
        "model": "j", "votes": 12, "unreadable": 0, "second_looks": 12, "tokens_in": 240, "tokens_out": 144,
    }  # fmt: skip
    assert "sopr" in done.stdout and "judge j: 12 votes, 12 after a second look" in done.stdout
    assert "sopr" not in str(read_lines(folder, "results"))
    page = report_data.data((folder / "report.html").read_text())
    assert all(len(row["judged"]["labels"]) == 3 and "sopr" in row["metrics"] for row in page["lines"])
    again = run("stage=report", f"report.folder={folder}")
    assert again.returncode == 0
    assert report_data.data((folder / "report.html").read_text())["lines"] == page["lines"]


def test_a_judge_makes_another_result_and_none_leaves_it(
    run: CommandLine, policy: ChatServer, judge: ChatServer
) -> None:
    plain = words(policy, judge)[: len(SPLIT) + 1]
    for each in (words(policy, judge), words(policy, judge, "judge.votes=1"), plain, (*plain, "judge=none")):
        assert run(*each, "limit=1").returncode == 0
    folders = [folder for folder in run.outputs.glob("evaluate/*")]
    assert len(folders) == 3
    assert sum((folder / "votes.jsonl").is_file() for folder in folders) == 2


def test_a_kill_while_judging_loses_the_votes_in_flight_alone(
    run: CommandLine, policy: ChatServer, judge: ChatServer
) -> None:
    async def slow(body: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.3)
        return chat("Solved")

    judge.handler = slow
    process = run.start(*words(policy, judge, "judge.concurrency=2"))
    while not any(run.outputs.glob("evaluate/*/votes.jsonl")) or len(read_lines(run.folder("tmdb"), "votes")) < 4:
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    kept, asked = len(read_lines(run.folder("tmdb"), "votes")), len(judge.requests)
    assert 4 <= kept < 3 * TASKS and asked <= kept + 2
    steps = len(policy.requests)
    done = run(*words(policy, judge))
    assert done.returncode == 0, done.stderr
    assert len(policy.requests) == steps  # the search was done
    assert len(judge.requests) == asked + 3 * TASKS - kept
    assert read_metrics(run.folder("tmdb"))["metrics"]["sopr"]["value"] == 1.0


def test_a_finished_judging_asks_for_nothing(run: CommandLine, policy: ChatServer, judge: ChatServer) -> None:
    for _ in range(2):
        assert run(*words(policy, judge)).returncode == 0
    assert len(judge.requests) == 3 * TASKS * 2  # two looks


def test_what_the_search_did_is_kept_when_the_judge_breaks_down(
    run: CommandLine, policy: ChatServer, judge: ChatServer
) -> None:
    judge.handler = lambda body: Reply(status=500)
    done = run(*words(policy, judge, "judge.retries=0"))
    assert done.returncode != 0 and "gave no answer" in done.stderr and "judge.retries" in done.stderr
    assert "Traceback" not in done.stderr
    told = read_metrics(run.folder("tmdb"))
    assert "success" in told["metrics"] and "sopr" not in told["metrics"]
    judge.handler = unsure_first
    assert run(*words(policy, judge)).returncode == 0
    assert "sopr" in read_metrics(run.folder("tmdb"))["metrics"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("judge.model=null",), "judge.model is not set"),
        (("judge.model=k",), "no chat/completions for the model 'k'"),
        (("judge.votes=0",), "judge.votes=0"),
        (("judge.base_url=http://127.0.0.1:9/v1",), "127.0.0.1:9/v1 cannot be reached"),
        (("judge=openal",), "Allowed: codetool, fac, none, openai, stabletoolbench"),
    ],
)
def test_a_judge_that_cannot_be_asked_is_told_before_any_task(
    run: CommandLine, policy: ChatServer, judge: ChatServer, more: tuple[str, ...], said: str
) -> None:
    answer = judge.handler
    judge.handler = lambda body: answer(body) if body["model"] == "j" else Reply(404, {"error": {"message": "no k"}})
    done = run(*words(policy, judge, *more))
    assert done.returncode in (2, 3) and said in done.stderr and "Traceback" not in done.stderr
    assert not policy.requests and not [*run.outputs.glob("evaluate/*/*.jsonl")]


def test_a_wrong_key_is_told_before_any_task(run: CommandLine, policy: ChatServer) -> None:
    with serve_in_process(unsure_first, Reply(status=401, body={"error": {"message": "wrong key"}})) as judge:
        done = run(*words(policy, judge))
    assert done.returncode in (2, 3) and "API key" in done.stderr and not policy.requests
