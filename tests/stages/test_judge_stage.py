"""stage=judge: answers that there are already, judged and compared without running anything."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat, serve_in_process
from command_line import CommandLine, read_lines, read_metrics


def by_answer(body: dict[str, Any]) -> Reply:
    """Solved are the answers with `good` in them; the one with `best` is better."""
    said = body["messages"][0]["content"]
    if "First answer" in said:
        first, _, second = said.partition("Second answer")
        return chat("first" if "best" in first else "second" if "best" in second else "first")
    return chat("Solved" if "good" in said.partition("Answer:")[2] else "Unsolved")


@pytest.fixture
def judge() -> Iterator[ChatServer]:
    with serve_in_process(by_answer) as server:
        yield server


def predictions(file: Path, answers: dict[str, str]) -> Path:
    """A file of converted answers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        name: {
            "query": f"Query {name}?",
            "available_tools": [{"name": "find", "description": "finds"}],
            "answer": {
                "method": "CoT@1",
                "total_steps": 1,
                "final_answer": json.dumps({"return_type": "give_answer", "final_answer": said}) if said else "",
                "answer_details": [],
            },
        }
        for name, said in answers.items()
    }
    file.write_text(json.dumps(content))
    return file


def words(judge: ChatServer, *more: str) -> tuple[str, ...]:
    return ("stage=judge", "judge.model=j", f"judge.base_url={judge.url}", "logger=none", *more)


def judged(run: CommandLine, name: str = "") -> Path:
    [folder] = run.outputs.glob(f"judge/{name}*")
    return folder


def test_a_run_is_judged_again_without_being_run(run: CommandLine, policy: ChatServer, judge: ChatServer) -> None:
    search = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "search=chain", "logger=none")
    assert run(*search, "benchmark.split=dev", "limit=3").returncode == 0
    folder = run.folder("tmdb_verified-chain")
    before, steps = {file.name: file.read_bytes() for file in folder.glob("*.*")}, len(policy.requests)
    done = run(*words(judge, f"judge_stage.folder={folder}"))
    assert done.returncode == 0, done.stderr
    assert len(policy.requests) == steps
    assert {file.name: file.read_bytes() for file in folder.glob("*.*")} == before
    result = judged(run, f"{folder.name}-stabletoolbench-")
    assert {"votes.jsonl", "judged.jsonl", "metrics.json", "config.yaml", "log.txt"} <= {
        file.name for file in result.iterdir()
    }
    assert read_metrics(result)["tasks"] == {"asked": 3, "missing": 0, "answered": 3}
    assert read_metrics(result)["judge"]["votes"] == len(read_lines(result, "votes")) == 9
    asked = len(judge.requests)
    assert run(*words(judge, f"judge_stage.folder={folder}")).returncode == 0
    assert len(judge.requests) == asked
    assert run(*words(judge, f"judge_stage.folder={folder}", "judge=codetool")).returncode == 0
    assert len(judge.requests) == 2 * asked and len([*run.outputs.glob("judge/*")]) == 2


def test_answers_of_another_system_are_compared_with_a_reference(
    run: CommandLine, judge: ChatServer, tmp_path: Path
) -> None:
    own = {"1": "good", "2": "bad", "3": "good best", "4": "good x", "5": "", "6": "bad best"}
    other = {"1": "bad", "2": "good", "3": "good", "4": "good y", "5": "", "6": "bad"}
    own_file = predictions(tmp_path / "mine" / "G1_tool.json", own)
    reference = predictions(tmp_path / "theirs" / "G1_tool.json", other)
    done = run(*words(judge, f"judge_stage.folder={own_file}", f"judge_stage.reference={reference}"))
    assert done.returncode == 0, done.stderr
    folder = judged(run, "mine-G1_tool-stabletoolbench-")
    told = read_metrics(folder)["metrics"]
    assert told["sopr"]["value"] == pytest.approx(3 / 6)
    preferences = {line["task_id"]: line["preference"] for line in read_lines(folder, "judged")}
    assert preferences == {"1": "win", "2": "loss", "3": "win", "4": "tie", "5": "tie", "6": "win"}
    assert told["sowr"]["value"] == pytest.approx(4 / 6)
    assert (told["sowr"]["win"], told["sowr"]["tie"], told["sowr"]["loss"]) == (3, 2, 1)
    compared = [line for line in read_lines(folder, "votes") if line["kind"] == "comparison"]
    assert len(compared) == 3 * 3 * 2 and {line["order"] for line in compared} == {"forward", "backward"}
    assert "sowr: 3 wins, 2 ties, 1 losses" in done.stdout


def test_a_query_without_an_answer_counts_where_it_was_asked_for(
    run: CommandLine, judge: ChatServer, tmp_path: Path
) -> None:
    file = predictions(tmp_path / "m" / "g.json", {"1": "good", "2": "bad"})
    (tmp_path / "ids.json").write_text('{"1": 0, "2": 1, "3": 2, "4": 3}')
    assert run(*words(judge, f"judge_stage.folder={file}", f"judge_stage.ids={tmp_path / 'ids.json'}")).returncode == 0
    told = read_metrics(judged(run))
    assert told["metrics"]["sopr"]["value"] == pytest.approx(1 / 4)
    assert told["tasks"] == {"asked": 4, "missing": 2, "answered": 2}


def test_a_kill_loses_the_votes_in_flight_alone(run: CommandLine, judge: ChatServer, tmp_path: Path) -> None:
    async def slow(body: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.2)
        return by_answer(body)

    judge.handler = slow
    own = predictions(tmp_path / "a" / "g.json", {str(number): f"good {number}" for number in range(4)})
    reference = predictions(tmp_path / "b" / "g.json", {str(number): f"good best {number}" for number in range(4)})
    command = words(judge, f"judge_stage.folder={own}", f"judge_stage.reference={reference}")
    for enough in (6, 30):  # once among the votes on answers, once among the comparisons
        process = run.start(*command, "judge.concurrency=4")
        while not any(run.outputs.glob("judge/*/votes.jsonl")) or len(read_lines(judged(run), "votes")) < enough:
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
    done = run(*command)
    assert done.returncode == 0, done.stderr
    votes = read_lines(judged(run), "votes")
    assert len({line["key"] for line in votes}) == len(votes) == 2 * 4 * 3 + 4 * 3 * 2
    assert len(judge.requests) <= len(votes) + 2 * 4
    assert read_metrics(judged(run))["metrics"]["sowr"]["value"] == 0.0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "judge_stage.folder is not set"),
        (("judge_stage.folder={tmp}",), "is no run folder: there is no config.yaml in it"),
        (("judge_stage.folder={tmp}/nowhere",), "there is no such file or folder"),
        (("judge_stage.folder={tmp}/nowhere.json",), "there is no such file"),
        (("judge_stage.folder={tmp}/x.json",), "holds no converted answers"),
        (("judge_stage.folder={tmp}/x.txt",), "is no file of converted answers"),
        (("judge_stage.folder={tmp}/g.json", "judge_stage.reference={tmp}"), "judge_stage.reference="),
        (("judge_stage.folder={tmp}/g.json", "judge_stage.reference={tmp}/none.json"), "was not asked 1 of the 1"),
        (("judge_stage.folder={tmp}/g.json", "judge_stage.reference={tmp}/else.json"), "has another query '1'"),
        (("judge_stage.folder={tmp}/g.json", "judge_stage.ids={tmp}/x.txt"), "no JSON file of task ids"),
        (("judge_stage.folder={tmp}/g.json", "judge=none"), "judge=none judges nothing"),
        (("judge_stage.folder={tmp}/g.json", "judge.model=null"), "judge.model is not set"),
        (("judge_stage.folder={tmp}/g.json", "judge.base_url=http://127.0.0.1:9/v1"), "cannot be reached"),
        (("judge_stage.folder={tmp}/g.json", "judge.votes=0"), "judge.votes=0"),
    ],
)
def test_a_wrong_word_is_one_message(
    run: CommandLine, judge: ChatServer, tmp_path: Path, more: tuple[str, ...], said: str
) -> None:
    for name in ("x.json", "x.txt"):
        (tmp_path / name).write_text("no")
    predictions(tmp_path / "g.json", {"1": "good"})
    predictions(tmp_path / "none.json", {"2": "good"})
    other = predictions(tmp_path / "else.json", {"1": "good"})
    other.write_text(other.read_text().replace("Query 1?", "Another?"))
    given = [word.format(tmp=tmp_path) for word in more]
    without = [word for word in words(judge) if not (word.startswith("judge.") and "judge=none" in given)]
    done = run(*without, *given)
    assert done.returncode in (2, 3) and said in done.stderr and "Traceback" not in done.stderr
    assert not judge.requests
    logs = [*run.outputs.glob("judge/*/log.txt")]  # a run that could not start leaves the log that says why, if any
    assert [file.parent for file in logs] == [*run.outputs.glob("judge/*")]
    assert all(said in file.read_text() for file in logs)


def test_a_dry_run_asks_nobody_and_writes_nothing(run: CommandLine, judge: ChatServer, tmp_path: Path) -> None:
    file = predictions(tmp_path / "m" / "g.json", {"1": "good", "2": "good too", "3": ""})
    reference = predictions(tmp_path / "r" / "g.json", {name: f"good best {name}" for name in "123"})
    command = words(
        judge, f"judge_stage.folder={file}", f"judge_stage.reference={reference}", "judge.votes=2",
        "judge.second_look=null", "judge.max_tokens=100", "judge.usd_per_million_in=0", "judge.usd_per_million_out=10",
    )  # fmt: skip
    done = run(*command, "dry_run=true")
    assert done.returncode == 0 and "tasks: 3, without a result: 0" in done.stderr
    assert "expected for 3 tasks, by the lengths of the judge's prompts" in done.stderr
    assert "calls: at most 18 requests of the judge" in done.stderr  # 5 answers by 2 votes, 2 pairs by 2 in 2 orders
    assert " in + 1,800 out" in done.stderr and "USD: at most 0.0180" in done.stderr
    assert not judge.requests and not run.outputs.exists()
    assert run(*command).returncode == 0 and len(judge.requests) == 18
    assert "expected: nothing, all votes are done" in run(*command, "dry_run=true").stderr


def test_what_is_judged_belongs_to_this_stage(run: CommandLine) -> None:
    done = run("judge_stage.folder=x")
    assert done.returncode == 2 and "judge_stage.folder=x: only stage=judge reads it" in done.stderr
