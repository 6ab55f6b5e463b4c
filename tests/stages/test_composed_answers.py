"""Final answers that a model composes from the chosen path: by the policy itself, or by a summariser of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat
from command_line import CommandLine, read_lines, read_metrics, strip_seconds
from scripted_policy import ScriptedPolicy, scripted_server

WORDS = ("policy=openai", "policy.model=m", "benchmark.split=dev", "limit=6", "search=greedy", "logger=none")
ASKED = "Answer the question for the user"


class Composing:
    """A scripted policy that also composes: it repeats what the last step of the path printed."""

    def __init__(self) -> None:
        self._steps = ScriptedPolicy()

    async def __call__(self, body: dict[str, Any]) -> Reply:
        request = body["messages"][-1]["content"]
        if ASKED not in request:
            return await self._steps(body)
        printed = request.rpartition("It printed:\n")[2].partition("\n\nQuestion:")[0]
        return chat(f"<think>Let me see.</think>\n{printed.strip()}", tokens_in=100, tokens_out=7)


@pytest.fixture
def composing() -> Iterator[ChatServer]:
    with scripted_server() as server:
        server.handler = Composing()
        yield server


def asked(server: ChatServer) -> list[dict[str, Any]]:
    return [body for body in server.requests if ASKED in body["messages"][-1]["content"]]


def words(policy: ChatServer, *more: str) -> tuple[str, ...]:
    return (*WORDS, f"policy.base_url={policy.url}", *more)


def test_the_policy_composes_the_answer_that_is_checked_and_counted(run: CommandLine, composing: ChatServer) -> None:
    assert run(*words(composing)).returncode == 0
    printed, plain = read_lines(run.folder("tmdb_verified-greedy"), "results"), len(composing.requests)
    done = run(*words(composing, "answer=policy", "fresh=true"))
    assert done.returncode == 0, done.stderr
    [folder] = [
        each
        for each in run.outputs.glob("evaluate/*")
        if "answer: \n" in (each / "config.yaml").read_text() or "AnswerPrompt" in (each / "config.yaml").read_text()
    ]
    composed = read_lines(folder, "results")
    assert {line["task_id"]: line["answer"] for line in composed} == {
        line["task_id"]: line["answer"] for line in printed
    }
    assert read_metrics(folder)["metrics"]["success"]["value"] == sum(line["success"] for line in printed) / len(
        printed
    )
    requests = asked(composing)
    assert len(requests) == 6 and len(composing.requests) == 2 * plain + 6
    assert all(body["temperature"] == 0 and body["messages"][0]["role"] == "system" for body in requests)
    before = {line["task_id"]: line["ledger"] for line in printed}
    for line in composed:
        added = {"answer_tokens_in": 100, "answer_tokens_out": 7}
        assert line["ledger"] == before[line["task_id"]] | added  # and no token of it counts as the search's


def test_composed_answers_are_journalled_and_replayed_without_a_model(run: CommandLine, composing: ChatServer) -> None:
    assert run(*words(composing, "answer=policy")).returncode == 0
    folder = run.folder("tmdb_verified-greedy-openai")
    replay = ("policy=replay", f"policy.source=[{folder}]", "benchmark.split=dev", "limit=6", "search=greedy")
    done = run(*replay, "answer=policy", "logger=none")
    assert done.returncode == 0, done.stderr
    again = run.folder("tmdb_verified-greedy-replay")
    assert [line["answer"] for line in strip_seconds(read_lines(again, "results"))] == [
        line["answer"] for line in strip_seconds(read_lines(folder, "results"))
    ]


def test_a_summariser_of_its_own_answers_for_unfinished_paths_too(run: CommandLine, composing: ChatServer) -> None:
    with scripted_server() as summariser:
        summariser.handler = lambda body: chat("Nobody knows.")
        words_of = ("answer=openai", "answer.model=s", f"answer.base_url={summariser.url}", "search.depth=1")
        done = run(*words(composing, *words_of))
        assert done.returncode == 0, done.stderr
        result = read_lines(run.folder("tmdb_verified-greedy"), "results")
        assert {line["answer"] for line in result} == {"Nobody knows."}
        assert any(not line["finished"] for line in result) and not any(line["success"] for line in result)
        assert [body["model"] for body in summariser.requests] == ["s"] * 6 and not asked(composing)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("answer=openai",), "answer.model is not set"),
        (("answer=openai", "answer.model=m", "answer.base_url=http://127.0.0.1:9/v1"), "answer.base_url"),
        (("answer=model",), "Allowed: openai, policy, printed"),
        (("stage=collect", "answer=policy"), "only stage=evaluate and improve read it"),
    ],
)
def test_wrong_words_are_told(run: CommandLine, composing: ChatServer, more: tuple[str, ...], said: str) -> None:
    done = run(*words(composing, *more))
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr


class NeverFinished(ScriptedPolicy):
    """A scripted policy that does not know the marker of the last step."""

    def _step(self, program: list[str], k: int, wrong: int | None) -> str:
        return super()._step(program, k, None).replace("[All Finished]\n", "")


def test_an_unfinished_path_may_answer_with_what_it_printed_last(run: CommandLine) -> None:
    with scripted_server(policy=NeverFinished()) as server:
        few = words(server, "limit=3", "search.n=1")
        done = run(*few)
        assert done.returncode == 0, done.stderr
        assert "3 of 3 tasks ended unfinished" in done.stdout + done.stderr
        without = read_lines(run.folder("tmdb_verified-greedy"), "results")
        assert [(line["answer"], line["success"]) for line in without] == [(None, False)] * 3
        again = run(*few, "answer.unfinished=last_printed", "fresh=true")
        assert again.returncode == 0, again.stderr
        assert "ended unfinished" not in again.stdout + again.stderr
        assert "3 tasks asked for, 3 with an answer, 0 with a finished path" in again.stdout
        [folder] = [
            each
            for each in run.outputs.glob("evaluate/*")
            if "unfinished: last_printed" in (each / "config.yaml").read_text()
        ]
        results = read_lines(folder, "results")
        assert all(line["answer"] for line in results)
        assert all(line["success"] for line in results)


def test_another_value_for_unfinished_paths_is_refused(run: CommandLine) -> None:
    done = run(*WORDS, "answer.unfinished=guess")
    assert done.returncode == 2
    assert "answer.unfinished" in done.stderr
    assert "last_printed" in done.stderr
