"""The chat client against a real server that misbehaves."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat, serve_chat
from promptly import promptly

from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.http.fault_counts import collect_faults

MESSAGES = [{"role": "user", "content": "x" * 40}]


def settings(url: str, **changes: Any) -> Endpoint:
    server = Endpoint(base_url=url, model="m", key_env="TEST_KEY", concurrency=100, timeout=5, retries=4, backoff=0.01)
    return replace(server, **changes)


async def ask(client: ChatClient, n: int = 1, **changes: Any) -> Completion:
    options: dict[str, Any] = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 64, "stop": ["[Stop]"], "seed": 5}
    return await client.complete(MESSAGES, n=n, **options | changes)


async def once(server: ChatServer, n: int = 1, **changes: Any) -> Completion:
    async with ChatClient(settings(server.url, **changes)) as client:
        return await ask(client, n)


def script(*replies: Reply) -> Any:
    """Answer with these replies, one after the other."""
    left: Iterator[Reply] = iter(replies)
    return lambda body: next(left)


async def test_n_candidates_come_in_one_request() -> None:
    async with serve_chat(lambda body: chat("a", "b", "c", tokens_out=7)) as server:
        completion = await once(server, 3)
    assert (completion.texts, completion.tokens_in, sum(completion.tokens_out)) == (("a", "b", "c"), 10, 7)
    assert server.requests == [
        {
            "model": "m", "messages": MESSAGES, "temperature": 0.9, "top_p": 0.95, "max_tokens": 64,
            "stop": ["[Stop]"], "seed": 5, "n": 3,
        }
    ]  # fmt: skip


async def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody answers
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serve_chat(lambda body: chat("a")) as server:
        assert (await once(server)).texts == ("a",)


async def test_a_server_that_ignores_n_is_asked_singly_and_in_the_end_remembered(caplog: Any) -> None:
    async with serve_chat(lambda body: chat(f"seed {body['seed']}")) as server:
        async with ChatClient(settings(server.url)) as client:
            completion = await ask(client, 3)
            assert set(completion.texts) == {"seed 5", "seed 6", "seed 7"}
            assert completion.tokens_in == 30
            for _ in range(3):
                await ask(client, 2)
    asked = ["n" in body for body in server.requests]
    assert asked == [True, False, False, True, False, True, False, False, False]
    assert caplog.text.count("asked for singly") == caplog.text.count("whatever `n` is") == 1


async def test_one_short_answer_costs_what_is_missing_and_nothing_more(caplog: Any) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        short = len(server.requests) % 2 == 1 and body.get("n") == 4
        return chat(*[f"{body['seed']}-{i}" for i in range(3 if short else body.get("n", 1))])

    async with serve_chat(handler) as server:
        async with ChatClient(settings(server.url)) as client:
            first, second = await ask(client, 4), await ask(client, 4)
    assert first.texts == ("5-0", "5-1", "5-2", "8-0")
    assert len(second.texts) == 4
    assert [body.get("n") for body in server.requests][:2] == [4, None]
    assert server.requests[2]["n"] == 4
    assert caplog.text.count("asked for singly") == 1


async def test_a_server_that_refuses_n_is_asked_several_times() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return Reply(400, {"error": {"message": "Only n = 1 is supported"}}) if "n" in body else chat("a")

    async with serve_chat(handler) as server:
        async with ChatClient(settings(server.url)) as client:
            completions = await asyncio.gather(*(ask(client, 2) for _ in range(5)))
    assert all(completion.texts == ("a", "a") for completion in completions)


async def test_the_new_name_of_max_tokens_is_used_where_it_is_demanded() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        said = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
        return Reply(400, said) if "max_tokens" in body else chat(str(body["max_completion_tokens"]))

    async with serve_chat(handler) as server:
        assert (await once(server)).texts == ("64",)


async def test_other_refusals_are_told_and_not_repeated() -> None:
    said = {"error": {"message": "This model's maximum context length is 8192 tokens"}}
    async with serve_chat(lambda body: Reply(400, said)) as server:
        with pytest.raises(CodeToolError, match="maximum context length is 8192"):
            await once(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429),
        Reply(500, {"error": "busy"}),
        Reply(503),
        Reply(drop=True),
        Reply(200, b"<html>"),
        Reply(200, {"choices": []}),
    ],
    ids=["429", "500", "503", "drop", "html", "no choices"],
)
async def test_trouble_is_retried(trouble: Reply) -> None:
    async with serve_chat(script(trouble, trouble, chat("at last"))) as server:
        assert (await once(server)).texts == ("at last",)


async def test_retries_are_bounded_and_the_last_trouble_is_told() -> None:
    async with serve_chat(lambda body: Reply(503, {"error": {"message": "loading"}})) as server:
        with pytest.raises(UnreachableError, match="5 attempts.*503 loading"):
            await once(server)
    assert len(server.requests) == 5


async def test_a_silent_request_is_retried_with_more_patience() -> None:
    async def slow(body: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.3)
        return chat("late")

    async with serve_chat(slow) as server:
        started = time.monotonic()
        assert (await once(server, timeout=0.2)).texts == ("late",)
    assert len(server.requests) == 2
    assert 0.45 < time.monotonic() - started


async def test_a_server_that_hangs_is_given_up() -> None:
    async with serve_chat(lambda body: Reply(hang=True)) as server:
        with pytest.raises(UnreachableError, match="4 attempts.*ReadTimeout"):
            await once(server, timeout=0.1)


@pytest.mark.parametrize("value", [lambda: "0.4", lambda: formatdate(time.time() + 2, usegmt=True)])
async def test_retry_after_is_honoured(value: Any) -> None:
    async with serve_chat(script(Reply(429, headers={"Retry-After": value()}), chat("a"))) as server:
        started = time.monotonic()
        await once(server)
    assert 0.35 < time.monotonic() - started < 20


async def test_no_wish_of_a_server_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.http.retry.MAX_RETRY_DELAY", 0.05)
    async with serve_chat(script(Reply(429, headers={"Retry-After": "3600"}), chat("a"))) as server:
        assert (await asyncio.wait_for(once(server), 5)).texts == ("a",)


async def test_a_quota_is_waited_out_while_others_are_answered() -> None:
    """Twenty answers a second and no more: everybody is turned away more often than there are retries."""
    began, given = time.monotonic(), 0

    def quota(body: dict[str, Any]) -> Reply:
        nonlocal given
        if given >= 20 * (time.monotonic() - began):
            return Reply(429)
        given += 1
        return chat("a")

    async with serve_chat(quota) as server:
        async with ChatClient(settings(server.url, retries=2)) as client:
            answers = await asyncio.wait_for(asyncio.gather(*(ask(client) for _ in range(40))), 30)
    assert len(answers) == 40


async def test_a_server_that_answers_nobody_is_given_up() -> None:
    async with serve_chat(lambda body: Reply(429)) as server:
        with pytest.raises(UnreachableError, match="3 attempts"):
            await once(server, retries=2)
    assert len(server.requests) == 3


async def test_an_answer_after_a_server_error_does_not_raise_the_limit() -> None:
    async with serve_chat(script(Reply(429), Reply(500), chat("a"))) as server:
        async with ChatClient(settings(server.url, concurrency=8)) as client:
            await ask(client)
            assert client.limiter.limit == 4


async def test_usage_is_estimated_and_marked_where_the_server_gives_none() -> None:
    async with serve_chat(lambda body: chat("abcdefgh", tokens_in=None)) as server:
        completion = await once(server)
    assert (completion.tokens_in, completion.tokens_out, completion.estimated) == (10, (2,), True)


async def test_usage_is_shared_out_by_length_and_adds_up() -> None:
    async with serve_chat(lambda body: chat("a" * 10, "b" * 20, "", tokens_out=31)) as server:
        assert (await once(server, 3)).tokens_out == (10, 21, 0)


async def test_empty_and_broken_texts_are_texts() -> None:
    choices = [{"index": 1, "message": {"content": "\ud83d"}}, {"index": 0, "message": {"content": None}}]
    async with serve_chat(lambda body: Reply(body={"choices": choices})) as server:
        texts = (await once(server, 2)).texts
    assert texts[0] == ""
    texts[1].encode()


async def test_hundred_requests_are_in_flight_at_once() -> None:
    async def slow(body: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.5)
        return chat("a")

    async with serve_chat(slow) as server:
        async with ChatClient(settings(server.url)) as client:
            await asyncio.gather(*(ask(client) for _ in range(150)))
    assert server.most_running == 100


async def test_throttling_lowers_concurrency_until_all_pass() -> None:
    async def crowded(body: dict[str, Any]) -> Reply:
        await asyncio.sleep(0.01)
        return Reply(429) if server.running > 10 else chat("a")

    async with serve_chat(crowded) as server:
        async with ChatClient(settings(server.url, retries=20)) as client:
            await asyncio.gather(*(ask(client) for _ in range(80)))
            assert client.limiter.limit < 100
    assert len(server.requests) < 400


async def test_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", " sk-secret\n")
    async with serve_chat(lambda body: Reply(403, {"error": {"message": "key sk-secret is wrong"}})) as server:
        with pytest.raises(ConfigError, match="TEST_KEY") as caught:
            await once(server)
    assert all(headers["authorization"] == "Bearer sk-secret" for headers in server.headers)
    assert "sk-secret" not in str(caught.value)


async def test_no_key_sends_no_header() -> None:
    async with serve_chat(lambda body: chat("a")) as server:
        await once(server)
    assert all("authorization" not in headers for headers in server.headers)


async def test_a_demanded_key_is_named_before_any_task() -> None:
    async with serve_chat(lambda body: chat("a"), models=Reply(401)) as server:
        with pytest.raises(MissingError, match="TEST_KEY"):
            await once(server)
    assert not server.requests


async def test_a_model_that_is_not_served_is_told_with_those_that_are() -> None:
    refused = Reply(404, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}})
    async with serve_chat(lambda body: refused, models=Reply(body={"data": [{"id": "q"}, {"id": "r"}]})) as server:
        with pytest.raises(ConfigError, match="'m'.*It lists q, r"):
            await once(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize("models", [Reply(404), Reply(body={"data": []}), Reply(body=b"ok"), Reply(500)])
async def test_a_server_that_does_not_list_models_is_fine(models: Reply) -> None:
    with collect_faults() as faults:
        async with serve_chat(lambda body: chat("a"), models=models) as server:
            assert (await once(server)).texts == ("a",)
    assert not faults.encode()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"])
async def test_an_unreachable_address_is_named_without_waiting(url: str) -> None:
    with promptly(), pytest.raises(UnreachableError, match=url):
        async with ChatClient(settings(url)):
            pass


async def test_a_silent_server_is_told_after_the_time_out() -> None:
    async with serve_chat(lambda body: chat("a"), models=Reply(hang=True)) as server:
        with pytest.raises(UnreachableError, match="ReadTimeout"):
            await once(server, timeout=0.2)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x/v1", "", "http://[::1/v1"])
async def test_no_address_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="http://localhost:8000/v1"):
        async with ChatClient(settings(url)):
            pass


def test_torch_is_not_imported() -> None:
    program = (
        "import sys, codetool.http.chat_client, codetool.policies.endpoint_policy; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
