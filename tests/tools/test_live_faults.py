"""Garbage, refused connections and requests that are not sent, at a real service."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_world import settings
from playlist_service import GARBAGE, PlaylistService, playlist_service

from codetool.tools.request_refusals import find_refusal
from codetool.tools.secrets import Secret
from codetool.types import HttpRequest, Task, Tool, ToolAnswer

KEY = "planted-secret-0123456789"
SECRETS = {"music": Secret(env="MUSIC_KEY", header="X-Key", query=None, format="{key}")}


@pytest.fixture(scope="module")
def running() -> Iterator[PlaylistService]:
    with playlist_service() as service:
        yield service


@pytest.fixture
def service(running: PlaylistService, monkeypatch: pytest.MonkeyPatch) -> PlaylistService:
    running.reset()
    monkeypatch.setenv("MUSIC_KEY", KEY)
    return running


async def ask(
    service: PlaylistService, file: Path | None, *requests: HttpRequest, task: Task | None = None
) -> tuple[list[ToolAnswer], int]:
    """The answers, and how many calls counted as unreachable."""
    task = task or service.task()
    secrets = {service.host: SECRETS["music"]}
    async with settings(mode="live", record_to=file, secrets=secrets).open([task]) as broker:
        session = broker.session(task)
        return [await session.call(request) for request in requests], len(session.unreachable)


def read(service: PlaylistService, kind: str) -> HttpRequest:
    return HttpRequest("GET", f"{service.server}/faulty/{kind}")


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_where_json_is_declared_is_asked_for_again(
    service: PlaylistService, tmp_path: Path, kind: str
) -> None:
    service.faults[kind] = 2
    (answer,), unreachable = await ask(service, tmp_path / "r", read(service, kind))
    assert (json.loads(answer.body), len(service.requests), unreachable) == ({"tracks": [1, 2, 3]}, 3, 0)


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_that_stays_is_unreachable_and_not_recorded(
    service: PlaylistService, tmp_path: Path, kind: str
) -> None:
    service.faults[kind] = 9
    (answer,), unreachable = await ask(service, tmp_path / "r", read(service, kind))
    assert (answer.failure, answer.transient, len(service.requests), unreachable) == ("unreachable", True, 3, 1)
    assert "JSON" in answer.body and (tmp_path / "r").read_text() == ""


async def test_a_page_from_an_undocumented_address_is_told_and_not_recorded(
    service: PlaylistService, tmp_path: Path
) -> None:
    (answer,), unreachable = await ask(service, tmp_path / "r", HttpRequest("GET", f"{service.server}/elsewhere"))
    assert (answer.status, answer.ok, unreachable) == (200, True, 0)
    assert (tmp_path / "r").read_text() == ""


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_is_tried_again_and_counts_as_unreachable(method: str, tmp_path: Path) -> None:
    """Whoever listens from the third attempt on gets the request, once, be it a read or a write."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = f"http://127.0.0.1:{port}"
    task = Task("t", "q", (Tool("x", method, server, "/x"),))
    async with settings(mode="live", retries=1, backoff=0.01).open([task]) as broker:
        session = broker.session(task)
        answer = await session.call(HttpRequest(method, f"{server}/x"))
        other = await session.call(HttpRequest("GET", f"http://127.0.0.1:{port}1/y"))
    assert (answer.failure, answer.transient, len(session.unreachable)) == ("unreachable", True, 1)
    assert other.failure is not None


REFUSED = (
    ("GET", "/v1/../../admin"),
    ("GET", "/v1/%2e%2e/admin"),
    ("GET", "/v1/%252e%252e/admin"),
    ("GET", "/v1/.%2e/admin"),
    ("GET", "/v1/playlists/..%2f..%2fadmin"),
    ("GET", "/v1/playlists/..%5cadmin"),
    ("GET", "/v1/playlists\\..\\admin"),
    ("GET", "/v1/..;/admin"),
    ("GET", "/v1//me/playlists"),
    ("GET", "//v1/me/playlists"),
    ("GET", "/v1/playlists/1%00"),
    ("GET", "/v1/./me/playlists"),
    ("GET", "/v1/\uff0e\uff0e/admin"),
    ("GET", "/admin"),
    ("TRACE", "/v1/me/playlists"),
    ("CONNECT", "/v1/me/playlists"),
    ("BREW", "/v1/me/playlists"),
    ("DELETE", "/v1/me/playlists"),
    ("PUT", "/v1/playlists/1"),
    ("POST", "/v1/albums"),
    ("DELETE", "/v1/playlists/1/tracks/2"),
    ("PATCH", "/v1"),
)


@pytest.mark.parametrize(("method", "path"), REFUSED)
async def test_a_request_that_leaves_its_place_is_not_sent(
    service: PlaylistService, tmp_path: Path, method: str, path: str
) -> None:
    (answer,), unreachable = await ask(service, tmp_path / "r", HttpRequest(method, f"http://{service.host}{path}"))
    assert (answer.failure, answer.status, service.requests, unreachable) == ("refused", 403, [], 0)
    assert json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/v1/playlists/a%2Fb", "/v1/playlists/a..b", "/v1/playlists/v1.0", "/v1/me/playlists/"]
)
def test_ordinary_paths_are_sent(path: str) -> None:
    tools = PlaylistService("music.test").tools()
    assert find_refusal(HttpRequest("GET", f"http://music.test{path}"), tools) is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_an_undocumented_path_is_read(method: str) -> None:
    request = HttpRequest(method, "http://music.test/v1/albums")
    assert find_refusal(request, PlaylistService("music.test").tools()) is None


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_host_without_documents_is_sent_any_method(method: str) -> None:
    request = HttpRequest(method, "http://other.test/albums")
    assert find_refusal(request, PlaylistService("music.test").tools()) is None


def test_head_goes_where_get_does() -> None:
    tools = PlaylistService("music.test").tools()
    assert find_refusal(HttpRequest("HEAD", "http://music.test/v1/me/playlists"), tools) is None


async def test_declared_headers_reach_the_service_and_secrets_of_programs_do_not(
    service: PlaylistService, tmp_path: Path
) -> None:
    file = tmp_path / "r"
    own = (
        ("music-version", "2024-01"),
        ("Accept", "application/vnd.music+json"),
        ("Authorization", "Bearer invented"),
        ("X-Key", "invented"),
        ("Cookie", "a=b"),
        ("X-Other", "o"),
        ("Host", "evil.test"),
    )
    url = f"{service.server}/me/playlists"
    requests = [HttpRequest("GET", url, None, headers) for headers in (own, own, (("Music-Version", "2025"),), ())]
    requests.append(HttpRequest("POST", url, '{"name": "a"}', (("Content-Type", "application/vnd.music+json"),)))
    answers, _ = await ask(service, file, *requests)
    sent = service.headers[0]
    assert (sent["music-version"], sent["accept"], sent["x-key"]) == ("2024-01", "application/vnd.music+json", KEY)
    assert not {"authorization", "cookie", "x-other"} & sent.keys() and sent["host"] == service.host
    assert service.headers[-1]["content-type"] == "application/vnd.music+json"
    assert [answer.provenance for answer in answers] == ["live", "recorded", "live", "live", "live"]
    assert answers[0].call.arguments == {"Music-Version": "2024-01"}
    assert KEY not in file.read_text() and "invented" not in file.read_text()


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "ключ", "x" * 5000, KEY])
async def test_a_header_that_cannot_be_sent_is_left_out(service: PlaylistService, value: str) -> None:
    request = HttpRequest("GET", f"{service.server}/me/playlists", None, (("Music-Version", value),))
    (answer,), _ = await ask(service, None, request)
    assert answer.ok and "x-evil" not in service.headers[0]
    assert service.headers[0].get("music-version") in (None, "[secret]")


async def test_several_keys_go_to_one_host(service: PlaylistService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSIC_TENANT", "tenant-0123456789")
    secrets = {
        "key": {"host": service.host, "env": "MUSIC_KEY"},
        "tenant": {"host": service.host, "env": "MUSIC_TENANT", "header": "X-Tenant"},
        "app": {"host": service.host, "env": "MUSIC_TENANT", "query": "app"},
    }
    async with settings(mode="live", secrets=secrets).open([service.task()]) as broker:
        await broker.session(service.task()).call(HttpRequest("GET", f"{service.server}/me/playlists"))
    sent = service.headers[0]
    assert (sent["authorization"], sent["x-tenant"]) == (f"Bearer {KEY}", "tenant-0123456789")


async def test_a_page_that_the_program_asked_for_is_an_answer(service: PlaylistService, tmp_path: Path) -> None:
    service.faults["page"] = 1
    request = HttpRequest("GET", f"{service.server}/faulty/page", None, (("Accept", "text/html"),))
    (answer,), unreachable = await ask(service, tmp_path / "r", request)
    assert (answer.ok, "busy" in answer.body, unreachable) == (True, True, 0)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_that_surely_did_not_arrive_is_sent_again(method: str, tmp_path: Path) -> None:
    """The service begins to listen after the first attempts; it gets the request once, a write too."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = Task("t", "q", (Tool("x", method, server, "/x"),))
        got: list[bytes] = []

        async def listen_late() -> None:
            await asyncio.sleep(0.15)

            async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                got.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                writer.close()

            listener.listen()
            listener.setblocking(False)
            await asyncio.start_server(reply, sock=listener)

        async with settings(mode="live", retries=6, backoff=0.05).open([task]) as broker:
            late = asyncio.create_task(listen_late())
            answer = await broker.session(task).call(HttpRequest(method, f"{server}/x"))
            await late
    assert (answer.status, answer.failure, len(got)) == (200, None, 1)
    assert got[0].startswith(method.encode())


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
async def test_a_write_whose_connection_breaks_is_not_sent_again(method: str, times: int, tmp_path: Path) -> None:
    got: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    service = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    server = f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}"
    task = Task("t", "q", (Tool("x", method, server, "/x"),))
    file = tmp_path / "r"
    async with service, settings(mode="live", record_to=file).open([task]) as broker:
        answer = await broker.session(task).call(HttpRequest(method, f"{server}/x"))
    assert (answer.failure, answer.transient, len(got)) == ("unreachable", True, times)
    async with settings(mode="strict", recordings=(file,)).open([task]) as broker:
        again = await broker.session(task).call(HttpRequest(method, f"{server}/x"))
    assert (again.failure, again.transient) == ("miss" if method == "GET" else "unreachable", False)
