"""Several servers of one model: a task stays with one, and goes to another only while that one does not answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from chat_server import ChatServer, Handler, Reply, chat, serve_chat
from chat_world import settings

from codetool.concurrency import gather_or_cancel
from codetool.errors import ConfigError, UnreachableError
from codetool.http.addresses import check_addresses
from codetool.http.endpoint import Endpoint
from codetool.http.fault_counts import collect_faults
from codetool.http.replicas import compute_rank, stick_to_replica
from codetool.http.replicated_chat import Chat, open_chat

BROKEN = Reply(503, {"error": {"message": "overloaded"}})
KEYS = [f"task-{number}" for number in range(40)]


def model_list(name: str = "m", length: int | None = 4096) -> Reply:
    return Reply(body={"data": [{"id": name, "max_model_len": length}]})


@asynccontextmanager
async def serve_replicas(*handlers: Handler, models: list[Reply] | None = None) -> AsyncIterator[list[ChatServer]]:
    async with AsyncExitStack() as stack:
        listed = models or [model_list()] * len(handlers)
        pairs = zip(handlers, listed, strict=True)
        yield [await stack.enter_async_context(serve_chat(handler, models)) for handler, models in pairs]


def endpoint(servers: list[ChatServer], **changes: Any) -> Endpoint:
    first, *others = [server.url for server in servers]
    return replace(settings(first, retries=1, **changes), replicas=tuple(others))


async def ask_for(client: Chat, key: str, text: str = "x") -> str:
    with stick_to_replica(key):
        messages = [{"role": "user", "content": text}]
        completion = await client.complete(messages, n=1, temperature=1.0, top_p=1.0, max_tokens=8)
    return completion.texts[0]


async def ask_until(client: Chat, key: str, expected: str) -> None:
    """Ask again and again until a server's answer comes."""
    async with asyncio.timeout(20):
        while await ask_for(client, key) != expected:
            await asyncio.sleep(0.01)


def find_first(key: str, servers: list[ChatServer]) -> ChatServer:
    return max(servers, key=lambda server: compute_rank(key, server.url))


def name_servers(count: int) -> list[Handler]:
    return [lambda body, number=number: chat(f"server {number}") for number in range(count)]


async def test_a_task_stays_with_one_server_whatever_the_order_of_the_list() -> None:
    async with serve_replicas(*name_servers(3)) as servers:
        answers = []
        for listed in (servers, servers[::-1]):
            async with open_chat(endpoint(listed)) as client:
                answers += [await gather_or_cancel(ask_for(client, key, text) for key in KEYS) for text in "abc"]
    assert all(each == answers[0] for each in answers)
    assert len(set(answers[0])) == 3


async def test_requests_of_no_task_are_spread() -> None:
    async with serve_replicas(*name_servers(2)) as servers, open_chat(endpoint(servers)) as client:
        for number in range(30):
            message = {"role": "user", "content": str(number)}
            await client.complete([message], n=1, temperature=1.0, top_p=1.0, max_tokens=8)
    assert all(server.requests for server in servers)


def test_no_task_moves_between_other_servers_when_one_goes() -> None:
    addresses = [f"http://host-{number}:8000/v1" for number in range(5)]
    first = {key: max(addresses, key=lambda each: compute_rank(key, each)) for key in KEYS}
    gone = first[KEYS[0]]
    for key in KEYS:
        second = max((each for each in addresses if each != gone), key=lambda each: compute_rank(key, each))
        assert first[key] in (second, gone)


async def test_the_tasks_of_a_server_that_fails_go_to_another_and_come_back() -> None:
    broken: set[int] = set()
    handlers: list[Handler] = [
        lambda body, number=number: BROKEN if number in broken else chat(f"server {number}") for number in range(3)
    ]
    async with serve_replicas(*handlers) as servers, open_chat(endpoint(servers)) as client:
        answers = dict(zip(KEYS, [await ask_for(client, key) for key in KEYS], strict=True))
        [number] = {int(answers[KEYS[0]].split()[1])}
        broken.add(number)
        with collect_faults() as faults:
            moved = {key: await ask_for(client, key) for key in KEYS}
        assert all((moved[key] == text) == (text != f"server {number}") for key, text in answers.items())
        counts = faults.encode()["policy"]
        assert counts["kinds"] == {"status_503": 2} and "given_up" not in counts  # one retry of one request
        broken.clear()
        await ask_until(client, KEYS[0], f"server {number}")
        assert {key: await ask_for(client, key) for key in KEYS} == answers


async def test_a_server_that_starts_late_joins(caplog: Any) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    late = ChatServer(lambda body: chat("late"), model_list(), f"http://127.0.0.1:{port}/v1")
    async with serve_replicas(lambda body: chat("early")) as [early], AsyncExitStack() as stack:
        key = next(key for key in KEYS if find_first(key, [early, late]) is late)
        with collect_faults() as faults:
            client = await stack.enter_async_context(open_chat(endpoint([early, late])))
            assert await ask_for(client, key) == "early"
            assert faults.encode()["policy"] == {"kinds": {"connection_refused": 1}}
        listener = await asyncio.start_server(late._serve, "127.0.0.1", port)
        stack.callback(listener.close)
        await ask_until(client, key, "late")
    assert f"{late.url} is left until it answers again" in caplog.text
    assert f"{late.url} answers again" in caplog.text


async def test_all_dead_is_the_error_of_a_single_server_and_names_all() -> None:
    alive = True
    async with serve_replicas(*[lambda body: chat("a") if alive else BROKEN] * 3) as servers:
        async with open_chat(endpoint(servers)) as client:
            alive = False
            with collect_faults() as faults, pytest.raises(UnreachableError) as raised:
                await ask_for(client, "task")
    message = str(raised.value)
    assert message.startswith("None of the 3 servers of policy.base_url answers (")
    assert all(server.url in message for server in servers)
    assert "gave no answer in 2 attempts" in message and "the same command resumes" in message
    assert faults.encode()["policy"] == {"kinds": {"status_503": 6}, "given_up": 1}


async def test_no_server_at_the_start_is_an_error_that_names_all() -> None:
    urls = ["http://127.0.0.1:9/v1", "http://127.0.0.1:19/v1"]
    with (
        collect_faults() as faults,
        pytest.raises(UnreachableError, match="None of the 2 servers.*:9/v1, .*:19/v1.*Start the server or set"),
    ):
        async with open_chat(endpoint([ChatServer(lambda body: BROKEN, url=url) for url in urls])):
            pass
    assert faults.encode()["policy"]["given_up"] == 1


async def test_a_slow_server_delays_its_own_tasks_alone() -> None:
    release = asyncio.Event()

    async def wait(body: dict[str, Any]) -> Reply:
        await release.wait()
        return chat("slow")

    quick = [lambda body: chat("quick")] * 2
    async with serve_replicas(*quick, wait) as servers, open_chat(endpoint(servers)) as client:
        slow = servers[2]
        waiting = [key for key in KEYS if find_first(key, servers) is slow]
        running = [asyncio.create_task(ask_for(client, key)) for key in waiting]
        others = await gather_or_cancel(ask_for(client, key) for key in KEYS if key not in waiting)
        assert waiting and set(others) == {"quick"} and not any(task.done() for task in running)
        release.set()
        assert set(await asyncio.gather(*running)) == {"slow"}
    assert len(slow.requests) == len(waiting)  # none was sent twice


async def test_a_server_that_times_out_is_left() -> None:
    handlers: list[Handler] = [lambda body: Reply(hang=True), lambda body: chat("quick")]
    async with serve_replicas(*handlers) as servers:
        key = next(key for key in KEYS if find_first(key, servers) is servers[0])
        async with open_chat(endpoint(servers, timeout=0.05)) as client:
            assert await ask_for(client, key) == "quick"


async def test_a_prompt_without_text_does_not_cost_the_server_its_other_tasks(caplog: Any) -> None:
    empty = Reply(body={"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}})
    handlers = [lambda body: empty if "filtered" in str(body) else chat("text")] * 2
    async with serve_replicas(*handlers) as servers, open_chat(endpoint(servers)) as client:
        with collect_faults() as faults, pytest.raises(UnreachableError, match="gave no text"):
            await ask_for(client, "task", "filtered")
        assert await ask_for(client, "task") == "text"
    assert faults.encode()["policy"]["given_up"] == 1
    assert sum(bool(server.requests) for server in servers) == 1 and "is left" not in caplog.text


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (model_list("other"), "the model's name is '(m|not listed)' at .* and '(m|not listed)' at "),
        (model_list("m", 2048), "the maximum length in tokens is (4096|2048) at .* and (4096|2048) at "),
    ],
)
async def test_servers_of_different_models_are_refused(other: Reply, found: str) -> None:
    async with serve_replicas(*name_servers(2), models=[model_list(), other]) as servers:
        with pytest.raises(ConfigError, match=found):
            async with open_chat(endpoint(servers)):
                pass


async def test_a_server_that_comes_back_with_another_model_is_not_used(caplog: Any) -> None:
    broken: set[int] = set()
    handlers: list[Handler] = [
        lambda body, number=number: BROKEN if number in broken else chat(f"server {number}") for number in range(2)
    ]
    async with serve_replicas(*handlers) as servers, open_chat(endpoint(servers)) as client:
        number = servers.index(find_first("task", servers))
        broken.add(number)
        assert await ask_for(client, "task") == f"server {1 - number}"
        servers[number].models = model_list("m", 8)
        broken.clear()
        async with asyncio.timeout(20):
            while "but is not used" not in caplog.text:
                await asyncio.sleep(0.01)
        assert await ask_for(client, "task") == f"server {1 - number}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the list is empty"),
        (5, "should be http://HOST:PORT/v1, or a list"),
        (["http://a/v1", None], "should be http://HOST:PORT/v1, or a list"),
        (["http://a/v1", "a/v1"], "'a/v1' is no http address"),
        (["http://a/v1", "http://A/v1/"], "http://a/v1 and http://A/v1/ are one server"),
    ],
)
def test_what_is_no_list_of_servers_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_addresses(value)
