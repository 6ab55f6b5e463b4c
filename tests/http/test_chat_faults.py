"""The chat client behind a proxy that spoils answers: each fault is retried, counted, and changes no number."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat, serve_chat
from fault_proxy import ANY_KINDS, Exchange, FaultProxy, run_proxies

from codetool.errors import CodeToolError, PromptRefusedError, UnreachableError
from codetool.http import retry
from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.http.fault_counts import FaultCounts, collect_faults, report_fault, report_unused_tokens
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries
from codetool.http.system_messages import SystemMessages

MESSAGES = [{"role": "user", "content": "x" * 40}]


def endpoint(url: str, **changed: Any) -> Endpoint:
    values = {"timeout": 0.3, "retries": 3, "backoff": 0.01, "concurrency": 8} | changed
    return Endpoint(base_url=f"{url}/v1", model="m", key_env=None, **values)


async def answer(exchange: Exchange) -> tuple[int, str, bytes]:
    """Choice i of seed s is that of seed s + i, and has twice as many tokens as the text has letters."""
    if exchange.method == "GET":
        return 200, "application/json", b'{"data": [{"id": "m"}]}'
    body = json.loads(exchange.body)
    texts = [f"text of {'a' * (body['seed'] + i)}" for i in range(body.get("n", 1))]
    choices = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 100, "completion_tokens": 2 * sum(map(len, texts))}
    return 200, "application/json", json.dumps({"choices": choices, "usage": usage}).encode()


@contextmanager
def spoiled(*faults: str | None) -> Iterator[FaultProxy]:
    """A proxy whose chat requests meet these faults, one after the other."""
    left = iter(faults)
    proxy = FaultProxy(answer, rate=0.0)
    proxy.is_broken = lambda exchange: next(left, None) if exchange.method == "POST" else None
    with run_proxies(proxy):
        yield proxy


async def complete(client: ChatClient, n: int = 3) -> Completion:
    return await client.complete(MESSAGES, n=n, temperature=1.0, top_p=1.0, max_tokens=64, seed=5)


async def ask(proxy: FaultProxy, n: int = 3, before: int = 0, **changed: Any) -> tuple[Completion, FaultCounts]:
    """A completion, after some others, and the faults that were counted for all."""
    with collect_faults() as counts:
        async with ChatClient(endpoint(proxy.url, **changed)) as client:
            for _ in range(before):
                await complete(client)
            return await complete(client, n), counts


COUNTED = {
    "reset": "connection_lost", "truncated": "truncated_body", "empty": "empty_body", "slow_drip": "slow_body",
    "status_429_retry_after": "status_429",
}  # fmt: skip


@pytest.mark.parametrize("kind", ANY_KINDS)
async def test_three_faults_in_a_row_change_nothing_and_are_counted(kind: str) -> None:
    patience = 0.15 if kind in {"timeout", "slow_drip"} else 2.0
    with spoiled() as clean, spoiled(kind, kind, kind) as proxy:
        expected, nothing = await ask(clean, timeout=10.0)
        completion, counts = await ask(proxy, timeout=patience)
    assert completion == expected and nothing.encode() == {}
    assert counts.encode() == {"policy": {"kinds": {COUNTED.get(kind, kind): 3}}}


async def test_a_choice_too_many_is_asked_for_again_and_its_tokens_are_counted_apart() -> None:
    with spoiled() as clean, spoiled("surplus_choices", "surplus_choices", "surplus_choices") as proxy:
        assert (await ask(proxy))[0] == (await ask(clean))[0]
        _, counts = await ask(proxy)
    assert counts.encode() == {}
    with spoiled("surplus_choices") as proxy:
        _, counts = await ask(proxy)
    unused = 2 * len("text of aaaaaa") * 4  # four choices of 14 letters on average
    assert counts.encode()["policy"] == {
        "kinds": {"surplus_choices": 1}, "unused_tokens_in": 100, "unused_tokens_out": unused,
    }  # fmt: skip


async def test_a_server_that_always_gives_too_many_choices_is_taken_as_it_is() -> None:
    with spoiled(*["surplus_choices"] * 9) as proxy:
        completion, counts = await ask(proxy)
    assert len(completion.texts) == 3 and counts.kinds["policy"] == {"surplus_choices": 3}


@pytest.mark.parametrize("counts_missing", [False, True], ids=["counts what it gives", "counts all choices"])
async def test_a_missing_choice_is_asked_for_alone_and_no_token_counts_twice(counts_missing: bool) -> None:
    short = iter([False, True])

    async def leave_out(exchange: Exchange) -> tuple[int, str, bytes]:
        status, kind, content = await answer(exchange)
        if exchange.method == "GET" or "n" not in json.loads(exchange.body) or not next(short, False):
            return status, kind, content
        complete_answer = json.loads(content)
        dropped = complete_answer["choices"].pop()
        if not counts_missing:
            complete_answer["usage"]["completion_tokens"] -= 2 * len(dropped["message"]["content"])
        return status, kind, json.dumps(complete_answer).encode()

    proxy, clean = FaultProxy(leave_out, rate=0.0), FaultProxy(answer, rate=0.0)
    with run_proxies(proxy, clean):
        expected, _ = await ask(clean, before=1)
        completion, counts = await ask(proxy, before=1)
    assert completion == expected
    again = 2 * len("text of aaaaaaa")
    assert counts.encode()["policy"] == {"kinds": {"missing_choices": 1}, "unused_tokens_in": 100} | (
        {"unused_tokens_out": again} if counts_missing else {}
    )
    assert proxy.requests == clean.requests + 1


async def test_a_stream_that_never_ends_is_given_up_by_a_total_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.http.chat_connection.STREAM_TIMEOUTS", 2)

    async def stream(exchange: Exchange) -> tuple[int, str, bytes]:
        return (await answer(exchange)) if exchange.method == "GET" else (200, "text/event-stream", b": wait\n" * 99)

    proxy = FaultProxy(stream, rate=0.0)
    proxy.is_broken = lambda exchange: "slow_drip" if exchange.method == "POST" else None
    started = time.monotonic()
    tried = r"2 attempts; the last one, after .* s in all: .*not complete after"
    with run_proxies(proxy), pytest.raises(UnreachableError, match=tried):
        await ask(proxy, stream=True, retries=1)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("kind", ["status_503", "timeout", "reset", "truncated", "html", "slow_drip", "error_object"])
async def test_faults_before_the_first_task_do_not_end_the_run(kind: str) -> None:
    left = iter([kind, kind, kind])
    proxy = FaultProxy(answer, rate=0.0)
    proxy.is_broken = lambda exchange: next(left, None)
    with run_proxies(proxy):
        completion, counts = await ask(proxy)
    assert len(completion.texts) == 3 and counts.kinds["policy"].total() == 3


@asynccontextmanager
async def answering(*replies: Reply) -> AsyncIterator[ChatServer]:
    left = iter(replies)
    async with serve_chat(lambda body: next(left)) as server:
        yield server


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b"9" * 5000, b"null", b'"text"', b"[1]", {"choices": "a"}, {"choices": {"a": 1}},
        {"choices": [{"message": {"content": 5}}]}, {"choices": [{"message": {"content": [{"type": "image"}]}}]},
        {"choices": [{"index": "a", "message": {"content": "x"}}, {"index": 1, "message": {"content": "x"}}]},
        {"choices": [{"message": "x"}]}, {"error": [1]}, {"error": {"message": {"a": 1}}}, {"detail": 5},
    ],
)  # fmt: skip
async def test_a_success_that_is_no_completion_is_retried(body: Any) -> None:
    async with answering(Reply(body=body), Reply(body=body), chat("good")) as server:
        async with ChatClient(endpoint(server.url.removesuffix("/v1"))) as client:
            assert (await complete(client, 1)).texts == ("good",)


@pytest.mark.parametrize("usage", [[], "many", {"prompt_tokens": "5"}, {"prompt_tokens": None}])
async def test_a_usage_that_is_none_is_estimated(usage: Any) -> None:
    content = chat("good").body | {"usage": usage}
    async with answering(Reply(body=content)) as server:
        async with ChatClient(endpoint(server.url.removesuffix("/v1"))) as client:
            assert (await complete(client, 1)).estimated


def test_a_failing_server_that_mentions_its_system_does_not_change_the_prompts() -> None:
    system, messages = SystemMessages(), [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    busy = "the system is overloaded, send the message later"
    assert not system.learn_from(UnreachableError(busy), messages) and system.adapt_messages(messages) == messages
    assert system.learn_from(CodeToolError("the system role is not supported"), messages)


async def test_attempts_end_in_time_also_if_they_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call() -> int:
        raise RetryableError("HTTP 429", kind="status_429", counts=False)

    async def give_up(policy: RetryPolicy) -> RetriesExhaustedError:
        with collect_faults() as counts, pytest.raises(RetriesExhaustedError) as caught:
            await call_with_retries(call, policy)
        assert counts.encode() == {"tools": {"kinds": {"status_429": caught.value.attempts}, "given_up": 1}}
        return caught.value

    monkeypatch.setattr(retry, "MAX_TOTAL_WAIT", 0.1)
    error = await give_up(RetryPolicy(2, 0.02, draw_factor=lambda attempt: 1.0, service="tools"))
    assert error.attempts == 3 and error.effort.startswith("3 attempts over 0.0")
    error = await give_up(RetryPolicy(2, 0.0, service="tools"))
    assert error.attempts == retry.MAX_ATTEMPTS


def test_faults_outside_of_a_run_are_lost_and_counts_add_up() -> None:
    report_fault("policy", "html")
    with collect_faults() as first:
        report_fault("prm", "html")
        report_unused_tokens("prm", 5, None)
        report_unused_tokens("prm", -5, True)
    total = FaultCounts()
    for _ in range(2):
        total.add(first.encode())
    assert total.encode() == {"prm": {"kinds": {"html": 2}, "unused_tokens_in": 10}}


async def test_a_page_of_a_gateway_is_no_refusal_of_the_prompt() -> None:
    page = b"<html><h1>403</h1>The request was blocked by the network policy.</html>"
    async with serve_chat(lambda body: Reply(403, page)) as server:
        async with ChatClient(endpoint(server.url.removesuffix("/v1"))) as client:
            with pytest.raises(CodeToolError) as caught:
                await complete(client, 1)
    assert not isinstance(caught.value, PromptRefusedError)
