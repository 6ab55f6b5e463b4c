"""Responses are bounded: their bytes, also behind compression, their texts, numbers and errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from chat_server import Reply, chat, serve_chat
from chat_world import choice, make_refusal, request_once, script

from codetool import concurrency
from codetool.concurrency import LARGE_BYTES, MAX_LARGE_VALUES, admit_large_data, large_data_scope
from codetool.errors import CodeToolError, UnreachableError
from codetool.http import http_client
from codetool.http.bounded_body import BodyTooLargeError, BoundedTransport
from codetool.http.chat_response import MAX_TEXT_CHARS
from codetool.http.server_error import parse_error_body


async def chunks(data: bytes, size: int = 100) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def fetch(data: bytes, limit: int, **headers: str) -> httpx.Response:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, headers=headers, content=chunks(data)))
    async with httpx.AsyncClient(transport=BoundedTransport(transport, limit)) as client:
        return await client.get("http://a.test/")


async def test_a_body_at_the_limit_is_read_and_one_above_it_is_not() -> None:
    assert (await fetch(b"x" * 1000, 1000)).content == b"x" * 1000
    with pytest.raises(BodyTooLargeError, match="larger than 1,000 bytes"):
        await fetch(b"x" * 1001, 1000)


async def test_an_announced_length_is_enough() -> None:
    with pytest.raises(BodyTooLargeError):
        await fetch(b"", 1000, **{"content-length": "1001"})


async def test_a_compressed_body_is_measured_decompressed() -> None:
    packed = gzip.compress(b"x" * 1000)
    assert (await fetch(packed, 1000, **{"content-encoding": "gzip"})).text == "x" * 1000
    with pytest.raises(BodyTooLargeError):
        await fetch(gzip.compress(b"x" * 10_000_000), 1000, **{"content-encoding": "gzip"})


async def test_a_chat_server_with_an_endless_answer_is_told_after_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_RESPONSE_BYTES", 10_000)
    async with serve_chat(lambda body: chat("x" * 10_000)) as server:
        with pytest.raises(UnreachableError, match="answer is larger than 10,000 bytes"):
            await request_once(server)
    assert len(server.requests) == 4


@pytest.mark.parametrize("stream", [False, True])
async def test_a_long_text_is_cut_and_says_so(stream: bool) -> None:
    at_the_limit, above = "x" * MAX_TEXT_CHARS, "x" * (MAX_TEXT_CHARS + 1)
    body = {"choices": [choice(at_the_limit), choice(above, index=1)]}
    reply = Reply(body=body, headers={"Content-Type": "application/json"})
    if stream:
        reply = make_stream([at_the_limit[i : i + 1000] for i in range(0, MAX_TEXT_CHARS, 1000)] + ["x", "x"])
    async with serve_chat(script(reply, reply)) as server:
        completion = await request_once(server, 1 if stream else 2, stream=stream)
    assert {len(text) for text in completion.texts} == {MAX_TEXT_CHARS}
    assert completion.finish_reasons == (("length",) if stream else ("stop", "length"))


def make_stream(parts: list[str]) -> Reply:
    events = [{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": part}, "finish_reason": None}]} for part in parts]  # fmt: skip
    events[-1]["choices"][0]["finish_reason"] = "stop"  # type: ignore[index]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return Reply(body=text.encode(), headers={"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("count", [2**31 + 1, -1, 10**400, 1e308, "7"])
async def test_impossible_numbers_of_tokens_are_estimated_instead(count: Any) -> None:
    body = {"choices": [choice("x" * 40)], "usage": {"prompt_tokens": count, "completion_tokens": 1}}
    async with serve_chat(lambda request: Reply(body=body)) as server:
        completion = await request_once(server)
    assert (completion.tokens_in, completion.tokens_out, completion.estimated) == (10, (10,), True)


@pytest.mark.parametrize(
    "message",
    [
        "<script" * 140_000,
        "max_tokens is too large: " + "9" * 10_000 + ". This model's maximum context length is " + "9" * 10_000,
        "context length " * 60_000,
        "[" * 100_000,
        "violates the " * 70_000,
    ],
    ids=["markup", "digits", "overflow", "brackets", "filter"],
)
async def test_an_error_of_a_megabyte_is_one_short_line(message: str) -> None:
    start = time.monotonic()
    async with serve_chat(script(*[make_refusal(message), Reply(400, message.encode())] * 10)) as server:
        with pytest.raises(CodeToolError) as caught:
            await request_once(server)
    assert len(str(caught.value)) < 1000
    assert parse_error_body(400, message).message == message[:20_000] or "<" in message
    assert time.monotonic() - start < 2


async def test_few_large_values_are_in_memory_at_once() -> None:
    admitted = most = 0

    async def hold() -> None:
        nonlocal admitted, most
        async with large_data_scope():
            await admit_large_data()
            await admit_large_data()  # again costs nothing
            admitted += 1
            most = max(most, admitted)
            await asyncio.sleep(0.01)
            admitted -= 1

    await asyncio.wait_for(asyncio.gather(*(hold() for _ in range(10))), 5)
    assert most == MAX_LARGE_VALUES
    assert LARGE_BYTES < 1_000_000


async def test_work_that_outlives_its_scope_keeps_no_place() -> None:
    async def late(release: asyncio.Event) -> None:
        await release.wait()
        await admit_large_data()

    release = asyncio.Event()
    tasks = []
    for _ in range(2 * MAX_LARGE_VALUES):
        async with large_data_scope():
            tasks.append(asyncio.create_task(late(release)))
    release.set()
    await asyncio.gather(*tasks)
    async with large_data_scope():
        await asyncio.wait_for(admit_large_data(), 1)
    assert not concurrency._slots_by_loop[asyncio.get_running_loop()].locked()


async def test_a_cancelled_wait_keeps_no_place() -> None:
    async def hold(seconds: float) -> None:
        async with large_data_scope():
            await admit_large_data()
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(hold(10)) for _ in range(3 * MAX_LARGE_VALUES)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(hold(0) for _ in range(MAX_LARGE_VALUES + 1))), 1)
