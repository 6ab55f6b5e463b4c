"""`tools.mode=live` at a service whose state changes, and the replay of what happened."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broker_world import settings
from playlist_service import PlaylistService, playlist_service

from codetool.errors import ConfigError
from codetool.execution.sandbox import SandboxConfig
from codetool.tools.task_session import TaskSession
from codetool.types import HttpRequest, Task, ToolAnswer


@pytest.fixture(scope="module")
def running() -> Iterator[PlaylistService]:
    with playlist_service() as service:
        yield service


@pytest.fixture
def service(running: PlaylistService) -> PlaylistService:
    running.reset()
    return running


@asynccontextmanager
async def session(
    service: PlaylistService, file: Path | None, mode: str = "live", task: str = "t", **changed: Any
) -> AsyncIterator[TaskSession]:
    files = (file,) if file and mode != "live" else ()
    values = {"mode": mode, "record_to": file, "recordings": files, "allowed_hosts": (service.host,)} | changed
    async with settings(**values).open() as broker:
        yield broker.session(service.task(task))


class Program:
    """Requests of one branch after the other, as an interpreter makes them."""

    def __init__(self, tools: TaskSession, server: str, known: bool = True) -> None:
        self.tools, self.server = tools, server
        self.writes: tuple[ToolAnswer, ...] | None = () if known else None

    def branch(self) -> "Program":
        other = Program(self.tools, self.server)
        other.writes = self.writes
        return other

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        request = HttpRequest(method, self.server + path, text, earlier_writes=self.writes)
        answer = await self.tools.call(request)
        if self.writes is not None and answer.call.effect == "write":
            self.writes = (*self.writes, answer)
        return json.loads(answer.body or "null") if answer.ok else answer.failure or answer.status

    async def lists(self) -> Any:
        return (await self.ask("GET", "/me/playlists"))["items"]

    async def add(self, name: str) -> Any:
        return await self.ask("POST", "/me/playlists", {"name": name})

    async def skip(self) -> Any:
        return await self.ask("POST", "/me/player/next")


async def play(tools: TaskSession, server: str, known: bool) -> list[Any]:
    program = Program(tools, server, known)
    said = [await program.lists(), await program.skip(), await program.skip()]
    said += [await program.add("a"), await program.lists(), await program.add("b"), await program.lists()]
    return [*said, await program.ask("DELETE", "/playlists/1"), await program.lists()]


@pytest.mark.parametrize("known", [True, False])
async def test_writes_always_go_out_and_reads_after_them_see_the_new_state(
    service: PlaylistService, tmp_path: Path, known: bool
) -> None:
    file = tmp_path / "r.jsonl"
    told = [[], {"position": 1}, {"position": 2}, {"id": 1}, ["a"], {"id": 2}, ["a", "b"], None, ["b"]]
    async with session(service, file) as tools:
        assert await play(tools, service.server, known) == told
    service.position, service.playlists = 0, []
    first = list(service.writes())
    async with session(service, file) as tools:  # the same program in another run
        assert await play(tools, service.server, known) == told
    assert service.writes() == first * 2
    asked = len(service.requests)
    for mode in ("strict", "offline"):
        async with session(service, file, mode) as tools:
            assert await play(tools, service.server, known) == told
    assert len(service.requests) == asked


async def test_two_branches_write_each_for_itself_and_are_replayed_each_for_itself(
    service: PlaylistService, tmp_path: Path
) -> None:
    async def play_two(tools: TaskSession) -> list[Any]:
        root = Program(tools, service.server)
        said = [await root.skip()]
        one, other = root.branch(), root.branch()
        said += [await one.add("x"), await other.add("x"), await one.lists(), await other.lists()]
        return [*said, await other.skip(), await one.skip(), await other.lists()]

    file = tmp_path / "r.jsonl"
    async with session(service, file) as tools:
        told = await play_two(tools)
    assert told[:5] == [{"position": 1}, {"id": 1}, {"id": 2}, ["x", "x"], ["x", "x"]]
    async with session(service, file, "strict") as tools:
        assert await play_two(tools) == told
    assert len(service.writes()) == 5


async def test_a_write_beyond_those_that_happened_is_a_miss(service: PlaylistService, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    async with session(service, file) as tools:
        await Program(tools, service.server).skip()
    async with session(service, file, "strict") as tools:
        program = Program(tools, service.server)
        assert [await program.skip(), await program.skip()] == [{"position": 1}, "miss"]
        assert [await Program(tools, service.server).skip()] == ["miss"]  # another branch: there was only one


async def test_a_read_before_the_write_does_not_answer_one_after_it_in_a_replay(
    service: PlaylistService, tmp_path: Path
) -> None:
    file = tmp_path / "r.jsonl"
    async with session(service, file) as tools:
        program = Program(tools, service.server)
        assert await program.lists() == []
        await program.add("a")
    async with session(service, file, "strict") as tools:
        program = Program(tools, service.server)
        assert await program.lists() == []
        await program.add("a")
        assert await program.ask("GET", "/me/playlists") == "miss"


async def test_a_refused_write_changes_nothing_and_is_replayed(service: PlaylistService, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"

    async def play_refused(tools: TaskSession) -> list[Any]:
        program = Program(tools, service.server)
        return [await program.lists(), await program.ask("POST", "/playlists/7"), await program.lists()]

    for mode in ("live", "strict"):
        async with session(service, file, mode, writes=()) as tools:
            said = await play_refused(tools)
            assert said == [[], "refused" if mode == "live" else "miss", []]


async def test_writes_of_another_task_make_recorded_reads_stale(service: PlaylistService, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    async with settings(mode="live", record_to=file, allowed_hosts=(service.host,)).open() as broker:
        reader = Program(broker.session(service.task("a")), service.server)
        assert [await reader.lists(), await reader.lists()] == [[], []]
        assert len(service.requests) == 1
        await Program(broker.session(service.task("b")), service.server).add("new")
        assert await Program(broker.session(service.task("c")), service.server).lists() == ["new"]


async def test_each_task_replays_its_own_writes(service: PlaylistService, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    for task in ("a", "b"):
        async with session(service, file, task=task) as tools:
            await Program(tools, service.server).skip()
    for task, position in (("b", 2), ("a", 1), ("other", 2)):
        async with session(service, file, "strict", task=task) as tools:
            assert await Program(tools, service.server).skip() == {"position": position}


async def test_a_post_that_is_marked_as_a_read_is_recorded_and_asked_once(
    service: PlaylistService, tmp_path: Path
) -> None:
    file = tmp_path / "r.jsonl"
    async with session(service, file, reads=("POST /search",)) as tools:
        program = Program(tools, service.server)
        said = [await program.ask("POST", "/search", {"text": "x"}) for _ in range(2)]
        await program.lists()
    assert said == [{"found": "x", "asked": 1}] * 2
    assert len(service.writes()) == 1
    async with session(service, file, "strict", reads=("POST /search",)) as tools:
        assert await Program(tools, service.server).ask("POST", "/search", {"text": "x"}) == said[0]


async def test_a_recording_without_the_order_of_writes_is_still_read(service: PlaylistService, tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    url = f"{service.server}/me/player/next"
    line = {"key": f"POST {url} {{}}", "method": "POST", "url": url, "arguments": {}, "status": 200, "body": "{}"}
    file.write_text(json.dumps(line) + "\n")
    async with session(service, file, "strict") as tools:
        program = Program(tools, service.server)
        assert [await program.skip(), await program.skip()] == [{}, {}]


async def test_the_budget_of_calls_keeps_a_write_from_the_service(service: PlaylistService, tmp_path: Path) -> None:
    async with session(service, tmp_path / "r.jsonl", max_calls=1) as tools:
        program = Program(tools, service.server)
        assert [await program.skip(), await program.skip()] == [{"position": 1}, "budget"]
    assert len(service.writes()) == 1


CODE = """import requests
r = requests.post("{server}/me/playlists", json={{"name": "{name}"}})
print(r.json()["id"], requests.get("{server}/me/playlists").json()["items"])"""


async def test_a_branch_that_is_rebuilt_writes_nothing_again(service: PlaylistService, tmp_path: Path) -> None:
    """One live branch at a time: every other one is closed, and rebuilt from its recorded answers when it goes on."""
    sandbox = SandboxConfig(
        isolation="best_effort", timeout=10, memory_mib=256, max_output_chars=2000, scratch_mib=16, max_live_processes=1
    )
    code = {name: CODE.format(server=service.server, name=name) for name in ("root", "a", "b", "c")}
    file = tmp_path / "r.jsonl"
    for mode in ("live", "strict"):
        async with sandbox.open() as live, session(service, file, mode) as tools:
            root = await live.start(Task("t", "q", ()), tools.call)
            said = [(await root.run(code["root"])).observation]
            one, other = await root.branch(), await root.branch()
            for branch, name in ((one, "a"), (other, "b"), (one, "c")):
                said.append((await branch.run(code[name])).observation)
            assert live.replayed_steps > 0
        assert [text.split()[0] for text in said] == ["1", "2", "3", "4"], (mode, said)
        assert said[2].strip() == "3 ['root', 'a', 'b']"
    assert service.playlists == ["root", "a", "b", "c"]


async def test_a_write_reaches_the_service_once_whatever_comes_back(service: PlaylistService, tmp_path: Path) -> None:
    tools = tuple(replace(tool, path="/strange") if tool.path == "/search" else tool for tool in service.tools())
    async with settings(mode="live", allowed_hosts=(service.host,), retries=3).open() as broker:
        answer = await broker.session(replace(service.task(), tools=tools)).call(
            HttpRequest("POST", f"{service.server}/strange", "{}")
        )
    assert (answer.status, answer.failure, "busy" in answer.body) == (200, None, True)
    assert service.writes() == [("POST", "/strange")]


async def test_an_operation_that_no_task_has_is_named(
    service: PlaylistService, caplog: pytest.LogCaptureFixture
) -> None:
    async with settings(mode="live", reads=("POST /serch",), writes=("GET_x",)).open([service.task()]):
        pass
    assert "no task has 'POST /serch', 'GET_x'. Did you mean POST /search" in caplog.text
    with pytest.raises(ConfigError, match="both name POST /search"):
        async with settings(mode="live", reads=("POST /search",), writes=("POST /search",)).open([service.task()]):
            pass
