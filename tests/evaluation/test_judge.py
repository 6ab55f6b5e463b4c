"""The judge of answers, over a real socket."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat, serving

from codetool import journal
from codetool.errors import ConfigError, UnreachableError
from codetool.evaluation.judge import OpenAIJudge, Question, said_yes
from codetool.types import Task

QUESTIONS = [Question(Task("t1", "Who?", ()), "Ann"), Question(Task("t2", "When?", ()), "never")]


def judge(url: str, **changes: object) -> OpenAIJudge:
    defaults = {
        "model": "m",
        "base_url": url,
        "key_env": None,
        "prompt": "{{ query }} {{ answer }}",
        "max_tokens": 8,
        "concurrency": 4,
        "timeout": 5.0,
        "retries": 1,
        "backoff": 0.01,
    }
    return OpenAIJudge(**{**defaults, **changes})  # type: ignore[arg-type]


def says_yes_to_ann(body: dict[str, Any]) -> Reply:
    return chat("Yes." if "Ann" in body["messages"][0]["content"] else "no, it does not")


async def test_an_answer_is_judged_by_its_query_and_text(tmp_path: Path) -> None:
    async with serving(says_yes_to_ann) as server:
        assert await judge(server.url).verdicts(QUESTIONS, tmp_path / "verdicts.jsonl") == [True, False]
    asked = sorted(request["messages"][0]["content"] for request in server.requests)
    assert asked == ["When? never", "Who? Ann"]
    assert {request["temperature"] for request in server.requests} == {0.0}


async def test_an_answer_is_asked_about_once_and_then_without_a_server(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    async with serving(says_yes_to_ann) as server:
        one = judge(server.url)
        await one.verdicts(QUESTIONS[:1] * 3, file)
        await one.verdicts(QUESTIONS, file)
        assert len(server.requests) == 2
    assert await one.verdicts(QUESTIONS, file) == [True, False]  # the server is gone
    assert [line["verdict"] for line in journal.read(file)] == [True, False]


@pytest.mark.parametrize("change", [{"model": "other"}, {"prompt": "{{ answer }}?"}])
async def test_another_judge_is_asked_anew(tmp_path: Path, change: dict[str, str]) -> None:
    async with serving(says_yes_to_ann) as server:
        for one in (judge(server.url), judge(server.url, **change), judge(server.url, timeout=9.0)):
            await one.verdicts(QUESTIONS[:1], tmp_path / "verdicts.jsonl")
        assert len(server.requests) == 2


async def test_verdicts_given_until_a_failure_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"

    def breaks_down(body: dict[str, Any]) -> Reply:
        return chat("yes") if len(server.requests) == 1 else Reply(status=400, body={"error": {"message": "no more"}})

    async with serving(breaks_down) as server:
        with pytest.raises(Exception, match="no more"):
            await judge(server.url, concurrency=1).verdicts(QUESTIONS, file)
        server.handler = says_yes_to_ann
        await judge(server.url).verdicts(QUESTIONS, file)
        assert len(server.requests) == 3


async def test_an_unclear_verdict_counts_as_no_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda body: chat("Hard to say.")) as server:
        assert await judge(server.url).verdicts(QUESTIONS[:1], tmp_path / "verdicts.jsonl") == [False]
    assert "neither yes nor no of 1 answers" in caplog.text


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes", True), ("no.", False), ("**YES** because no film …", True), ("Not yesterday", None), ("", None),
        ("There is no doubt: yes", None), ("<think>No date is given, yes, but</think>\n\nYes.", True),
        ("<think>Yes, though", None),
    ],
)  # fmt: skip
def test_a_verdict_begins_with_yes_or_no(text: str, yes: bool | None) -> None:
    assert said_yes(text) is yes


async def test_a_judge_that_cannot_be_asked_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"judge\.model is not set"):
        await judge("http://127.0.0.1:9/v1", model=None).probe()
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"judge\.base_url"):
        await judge("http://127.0.0.1:9/v1").probe()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("change", [{"prompt": "{{ anser }}"}, {"prompt": "{% if %}"}, {"base_url": "http://u:p@h/v1"}])
def test_wrong_settings_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        judge("http://h/v1", **change)
