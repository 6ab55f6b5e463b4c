"""Live calls by way of ToolBench's proxy."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from broker_world import settings
from cache_world import API, TOOL, published, said, write
from chat_server import Reply, serve_chat

from codetool.errors import MissingError
from codetool.tool_calls.toolbench_api import SERVER
from codetool.tools.toolbench.proxy import ToolBenchProxyConfig
from codetool.types import HttpRequest, Task, ToolAnswer

KEY = "planted-key/0123456789"
TASK = Task("t", "q", (TOOL,))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLBENCH_KEY", KEY)
    write(tmp_path, API, {"{'artist_id': 5}": said({"name": "Ada"})})
    return tmp_path


async def ask(folder: Path, content: Any, *arguments: str, status: int = 200) -> tuple[list[ToolAnswer], list[Any]]:
    async with serve_chat(lambda body: Reply(status, content(body) if callable(content) else content)) as server:
        proxy = ToolBenchProxyConfig(url=f"{server.url}/rapidapi", key_env="TOOLBENCH_KEY")
        tools = settings(
            mode="live", recorded_answers=published(folder), tool_proxy=proxy, record_to=folder / "live.jsonl"
        )
        async with tools.open([TASK]) as broker:
            session = broker.session(TASK)
            requests = [HttpRequest("GET", f"{SERVER}{API.path}?{each}") for each in arguments]
            return list(await asyncio.gather(*map(session.call, requests))), server.requests


async def test_the_service_is_asked_as_the_proxy_expects(folder: Path) -> None:
    [answer], [body] = await ask(folder, said("{'name': 'Grace'}"), "artist_id=7&tour=true")
    assert (answer.status, json.loads(answer.body), answer.provenance) == (200, {"name": "Grace"}, "live")
    assert body == {
        "category": "Data",
        "tool_name": "clique",
        "api_name": "artist",
        "tool_input": '{"artist_id": 7, "tour": true}',
        "strip": "",
        "toolbench_key": KEY,
    }


async def test_what_is_recorded_is_not_asked_and_what_was_asked_is_recorded(folder: Path) -> None:
    [known], asked = await ask(folder, said({}), "artist_id=5")
    assert known.provenance == "recorded" and not asked
    await ask(folder, said({"name": "Grace"}), "artist_id=7")
    [again], asked = await ask(folder, said({"name": "another"}), "artist_id=7")
    assert (json.loads(again.body), again.provenance, asked) == ({"name": "Grace"}, "recorded", [])


async def test_a_failure_of_the_service_is_one(folder: Path) -> None:
    [answer], _ = await ask(folder, said({"message": "You are not subscribed to this API."}), "artist_id=7")
    assert (answer.status, answer.ok) == (403, False)
    assert not (folder / "live.jsonl").read_text()


@pytest.mark.parametrize("content", [[1], {"detail": "no"}, "text"])
async def test_an_answer_that_is_none_of_the_proxys_is_named(folder: Path, content: Any) -> None:
    [answer], _ = await ask(folder, content, "artist_id=7")
    assert answer.failure == "unreachable" and "the proxy answered with something else" in answer.body


async def test_the_key_is_in_no_file_answer_or_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [answer], _ = await ask(folder, lambda body: said({"echo": body["toolbench_key"]}), "artist_id=7")
    assert json.loads(answer.body) == {"echo": "[secret]"}
    assert KEY not in answer.body + caplog.text + (folder / "live.jsonl").read_text() + repr(answer)


async def test_without_a_key_nothing_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLBENCH_KEY")
    with pytest.raises(MissingError, match="TOOLBENCH_KEY"):
        await ask(folder, said({}), "artist_id=7")


@pytest.mark.parametrize(
    "garbage",
    [b"<html>502 Bad Gateway</html>", b"", b'{"error": "", "resp', b"busy", {"error": "overloaded, try again"}],
)
async def test_garbage_of_the_proxy_is_asked_for_again(folder: Path, garbage: Any) -> None:
    left = iter([garbage, garbage])
    [answer], asked = await ask(folder, lambda body: next(left, said({"name": "Grace"})), "artist_id=7")
    assert (json.loads(answer.body), answer.transient, len(asked)) == ({"name": "Grace"}, False, 3)


@pytest.mark.parametrize("garbage", [b"<html>502 Bad Gateway</html>", b"", {"detail": "no"}])
async def test_garbage_that_stays_is_not_the_programs_failure_and_not_recorded(folder: Path, garbage: Any) -> None:
    [answer], _ = await ask(folder, garbage, "artist_id=7")
    assert (answer.failure, answer.transient) == ("unreachable", True)
    assert not (folder / "live.jsonl").read_text()
