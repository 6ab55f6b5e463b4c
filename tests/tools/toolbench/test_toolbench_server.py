"""StableToolBench's server as its clients know it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from broker_world import settings
from cache_world import API, published, said, write

BODY = {"category": "Data", "tool_name": "Clique", "api_name": "Artist", "strip": "", "toolbench_key": ""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    answers = {"{'artist_id': 5}": said("{'name': 'Ada', 'songs': ['a', 'b'"), "{'artist_id': 9}": said("", "no such")}
    write(tmp_path, API, answers)
    return tmp_path


@asynccontextmanager
async def client(folder: Path, **demanded: Any) -> AsyncIterator[httpx.AsyncClient]:
    cache = published(folder)
    environment = {"TOOLBENCH_KEY": demanded["key"]} if "key" in demanded else {}
    async with settings(recorded_answers=cache).open() as broker:
        site = cache.site(require_key=demanded.get("require_key", False), environment=environment, broker=broker)
        transport = httpx.ASGITransport(site)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as asking:
            yield asking


async def ask(folder: Path, **body: Any) -> httpx.Response:
    async with client(folder) as asking:
        return await asking.post("/virtual", json=BODY | body)


@pytest.mark.parametrize("tool_input", [{"artist_id": 5}, '{"artist_id": 5}', '{"artist_id": "5"}'])
async def test_a_call_has_its_recorded_answer_as_data(folder: Path, tool_input: Any) -> None:
    response = await ask(folder, tool_input=tool_input)
    assert response.status_code == 200
    assert response.json() == {"error": "", "response": {"name": "Ada", "songs": ["a"]}}


async def test_names_may_be_spelled_as_in_function_calls(folder: Path) -> None:
    names = {"tool_name": "clique_for_Data", "api_name": "artist_for_clique"}
    assert (await ask(folder, **names, tool_input={"artist_id": 5})).json()["error"] == ""


async def test_a_recorded_error_is_an_error(folder: Path) -> None:
    assert (await ask(folder, tool_input={"artist_id": 9})).json() == {"error": "no such", "response": ""}


async def test_a_miss_is_an_error_that_says_so(folder: Path) -> None:
    reply = (await ask(folder, tool_input={"artist_id": 6})).json()
    assert reply["response"] == "" and "has no answer to these arguments in mode offline" in reply["error"]


@pytest.mark.parametrize("tool_input", ["{", "[1]", "5"])
async def test_arguments_that_are_no_object_are_an_error(folder: Path, tool_input: str) -> None:
    assert (await ask(folder, tool_input=tool_input)).json()["error"] == "tool_input is no JSON object"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"category": "Data"}', b'{"category": "", "tool_name": "a", "api_name": "b"}', b"\xff"]
)
async def test_a_body_of_another_form_is_a_422_with_the_reason(folder: Path, body: bytes) -> None:
    async with client(folder) as asking:
        response = await asking.post("/virtual", content=body)
    assert response.status_code == 422 and response.json()["detail"][0]["msg"]


async def test_a_body_that_is_too_long_is_refused(folder: Path) -> None:
    assert (await ask(folder, tool_input={"a": "x" * (1 << 20)})).status_code == 413


@pytest.mark.parametrize(("given", "status"), [("right", 200), ("wrong", 401), ("", 401)])
async def test_a_demanded_key_is_the_environments(folder: Path, given: str, status: int) -> None:
    async with client(folder, require_key=True, key="right") as asking:
        posted = await asking.post("/virtual", json=BODY | {"toolbench_key": given, "tool_input": {"artist_id": 5}})
        single = await asking.get(f"/virtual{API.path}", params={"artist_id": 5, "toolbench_key": given})
        by_header = await asking.get(f"/virtual{API.path}", params={"artist_id": 5}, headers={"toolbench_key": given})
    assert [posted.status_code, single.status_code, by_header.status_code] == [status] * 3


async def test_each_api_has_an_address_with_the_statuses_of_a_run(folder: Path) -> None:
    async with client(folder) as asking:
        known = await asking.get(f"/virtual{API.path}", params={"artist_id": 5})
        failed = await asking.get(f"/virtual{API.path}", params={"artist_id": 9})
        missing = await asking.get(f"/virtual{API.path}", params={"artist_id": 6})
        health = await asking.get("/health")
    assert (known.status_code, known.json()) == (200, {"name": "Ada", "songs": ["a"]})
    assert (failed.status_code, failed.json(), missing.status_code) == (404, {"error": "no such"}, 501)
    assert health.json() == {"status": "ok", "calls": {"canonical": 2, "not recorded": 1}}


async def test_many_clients_at_once_have_their_own_answers(tmp_path: Path) -> None:
    write(tmp_path, API, {f"{{'artist_id': {n}}}": said({"n": n}) for n in range(64)})
    async with client(tmp_path) as asking:
        posts = [asking.post("/virtual", json=BODY | {"tool_input": {"artist_id": n}}) for n in range(64)]
        replies = [response.json()["response"] for response in await asyncio.gather(*posts)]
    assert replies == [{"n": n} for n in range(64)]
