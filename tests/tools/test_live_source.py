import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from broker_world import film_task, get, settings
from film_service import KEY, FilmService, film_service

from codetool.errors import ConfigError, MissingError
from codetool.tools import broker
from codetool.tools.secrets import Keyring, Secret
from codetool.tools.signing_transport import add_credentials
from codetool.tools.task_session import TaskSession
from codetool.types import HttpRequest, Tool

DOCUMENTED = (("GET", "/echo"), ("POST", "/echo"), ("GET", "/redirect"), ("POST", "/redirect"))
BEARER = Secret(env="FILM_KEY", header="Authorization", query=None, format="Bearer {key}")


@pytest.fixture(scope="module")
def running() -> Iterator[FilmService]:
    with film_service() as service:
        yield service


@pytest.fixture
def service(running: FilmService, monkeypatch: pytest.MonkeyPatch) -> FilmService:
    """The service as if it had just started, its key in the environment."""
    monkeypatch.setenv("FILM_KEY", KEY)
    running.requests.clear()
    return running


@asynccontextmanager
async def tools_of(service: FilmService, **changed: Any) -> AsyncIterator[TaskSession]:
    values = {"mode": "live", "secrets": {service.host: BEARER}} | changed
    task = film_task(service.server)
    more = (Tool(f"{method}_{path}", method, service.server, path) for method, path in DOCUMENTED)
    task = replace(task, tools=(*task.tools, *more))
    async with settings(**values).open([task]) as broker:
        yield broker.session(task)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_the_service_gets_the_key_and_gives_the_answer(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/movie/7"))
    assert (answer.status, answer.provenance, answer.ok) == (200, "live", True)
    assert json.loads(answer.body) == {"id": "7", "title": "Véronique"}


async def test_a_wrong_status_is_still_the_services_answer(service: FilmService) -> None:
    async with tools_of(service, secrets={}) as tools:
        answer = await tools.call(get(f"{service.server}/movie/7"))
    assert (answer.status, answer.provenance, answer.failure, answer.ok) == (401, "live", None, False)


async def test_a_body_is_sent_as_written_with_its_type(service: FilmService) -> None:
    async with tools_of(service) as tools:
        for body, kind in (('{"a":  1.50}', "application/json"), ("a=1&b=2", "application/x-www-form-urlencoded")):
            await tools.call(HttpRequest("POST", f"{service.server}/echo?x=1&x=2", body))
            sent = service.requests[-1]
            assert (sent["body"], sent["headers"]["content-type"], sent["query"]) == (body, kind, "x=1&x=2")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_read_is_retried_until_it_is_answered(service: FilmService, status: int) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/status/{status}"))
    assert (answer.status, answer.body) == (200, '{"times":3}')


async def test_retries_are_bounded_and_the_last_answer_stands(service: FilmService) -> None:
    async with tools_of(service, retries=1) as tools:
        answer = await tools.call(get(f"{service.server}/always/503"))
    assert (answer.status, answer.provenance, len(service.requests)) == (503, "live", 2)


@pytest.mark.parametrize("status", [400, 404])
async def test_an_answer_that_will_not_change_is_not_asked_for_again(service: FilmService, status: int) -> None:
    async with tools_of(service) as tools:
        await tools.call(get(f"{service.server}/always/{status}"))
    assert len(service.requests) == 1


async def test_a_write_is_sent_once(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(HttpRequest("POST", f"{service.server}/movie/7/rating", '{"value": 8}'))
    assert (answer.status, len(service.requests)) == (503, 1)


@pytest.mark.parametrize("path", ["hang", "drip"])
async def test_a_silent_or_dripping_service_costs_the_time_limit(service: FilmService, path: str) -> None:
    start = time.monotonic()
    async with tools_of(service, timeout=0.2, connect_timeout=0.2, retries=1) as tools:
        answer = await tools.call(get(f"{service.server}/{path}"))
    assert (answer.failure, answer.status, len(service.requests)) == ("unreachable", 502, 2)
    assert 0.2 <= answer.seconds <= time.monotonic() - start < 20


async def test_a_refused_connection_is_an_answer(service: FilmService) -> None:
    host = f"127.0.0.1:{free_port()}"
    async with tools_of(service, allowed_hosts=(host,)) as tools:
        answer = await tools.call(get(f"http://{host}/3/movie/1"))
    assert (answer.failure, answer.status, answer.provenance) == ("unreachable", 502, None)
    assert host in json.loads(answer.body)["error"]["message"]


async def test_an_oversized_answer_is_refused(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/large"))
    assert (answer.failure, "100000 bytes" in answer.body) == ("unreachable", True)


async def test_a_redirect_to_an_allowed_host_is_followed(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/redirect?to=/3/movie/9"))
    assert json.loads(answer.body)["id"] == "9"


@pytest.mark.parametrize("target", ["http://evil.test/x", "//evil.test", "file:///etc/passwd", "http://127.0.0.1:1/"])
async def test_a_redirect_to_any_other_host_is_refused(service: FilmService, target: str) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/redirect?to={target}"))
    assert (answer.failure, answer.status, answer.provenance) == ("host_not_allowed", 403, None)


async def test_a_circle_of_redirects_ends(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(get(f"{service.server}/circle"))
    assert (answer.failure, len(service.requests)) == ("unreachable", 5)


async def test_a_write_follows_no_redirect(service: FilmService) -> None:
    async with tools_of(service) as tools:
        answer = await tools.call(HttpRequest("POST", f"{service.server}/redirect?to=/3/echo"))
    assert (answer.status, answer.ok, len(service.requests)) == (302, False, 1)


async def test_the_key_is_not_sent_to_a_host_that_a_redirect_leads_to(service: FilmService) -> None:
    with film_service() as other:
        async with tools_of(service, allowed_hosts=(service.host, other.host)) as tools:
            await tools.call(get(f"{service.server}/redirect?to={other.server}/echo"))
        assert "authorization" not in other.requests[0]["headers"]


async def test_cookies_do_not_travel_between_calls(service: FilmService) -> None:
    async with tools_of(service) as tools:
        for number in (1, 2):
            await tools.call(get(f"{service.server}/movie/{number}"))
    assert [("cookie" in request["headers"]) for request in service.requests] == [False, False]


async def test_hundreds_of_calls_are_in_flight_at_once(service: FilmService) -> None:
    async with tools_of(service, max_calls=1000, timeout=20) as tools:
        await tools.call(get(f"{service.server}/echo"))
        start = time.monotonic()
        answers = await asyncio.gather(*(tools.call(get(f"{service.server}/slow?n={n}")) for n in range(200)))
    assert all(answer.ok for answer in answers)
    assert time.monotonic() - start < 50  # one after the other they take 100 s


async def test_the_work_of_a_call_does_not_grow_with_the_calls_in_flight(service: FilmService) -> None:
    async def work(calls: int) -> float:
        """Functions that this thread enters for each of so many calls at once; the service has a thread of its own."""
        entered = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal entered
            entered += event == "call"

        async with tools_of(service, max_calls=1000, timeout=60, connect_timeout=60) as tools:  # on a busy machine too
            sys.setprofile(count)
            try:
                answers = await asyncio.gather(*(tools.call(get(f"{service.server}/slow?n={n}")) for n in range(calls)))
            finally:
                sys.setprofile(None)
        assert all(answer.ok for answer in answers)
        return entered / calls

    assert await work(500) < 1.5 * await work(50)


@pytest.mark.parametrize("allowed", ["films.test", "films.test:443", "Films.test"])
async def test_an_allowed_host_whose_key_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    monkeypatch.delenv("FILM_KEY", raising=False)
    with pytest.raises(MissingError, match="FILM_KEY"):
        async with settings(mode="live", secrets={"films.test": BEARER}, allowed_hosts=(allowed,)).open():
            pass


async def test_a_tools_host_whose_key_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FILM_KEY", raising=False)
    live = settings(mode="live", secrets={"api.films.test": BEARER})
    with pytest.raises(MissingError, match="FILM_KEY"):
        async with live.open([film_task()]):
            pass
    async with live.open() as broker:
        with pytest.raises(MissingError, match="FILM_KEY"):
            broker.session(film_task())


async def test_other_modes_and_other_hosts_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FILM_KEY", raising=False)
    secrets = {"api.films.test": BEARER}
    async with settings(secrets=secrets).open([film_task()]) as broker:
        broker.session(film_task())
    async with settings(mode="live", secrets=secrets, allowed_hosts=("127.0.0.1:1",)).open([film_task()]) as broker:
        broker.session(film_task())


async def test_a_recordings_file_that_cannot_be_written_is_named_before_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="record_to"):
        async with settings(mode="live", record_to=tmp_path / "file" / "r.jsonl").open():
            pass


async def test_a_live_answer_is_recorded_and_not_asked_for_again(service: FilmService, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "r.jsonl"
    provenances = []
    for mode in ("live", "live", "strict"):
        files = (file,) if mode == "strict" else ()
        async with tools_of(service, mode=mode, record_to=file, recordings=files) as tools:
            provenances += [(await tools.call(get(f"{service.server}/movie/7"))).provenance for _ in range(2)]
    assert provenances == ["live"] + ["recorded"] * 5
    assert len(service.requests) == 1


async def test_failures_are_not_recorded(service: FilmService, tmp_path: Path) -> None:
    async with tools_of(service, record_to=tmp_path / "r", timeout=0.1, retries=0) as tools:
        for path in ("always/500", "always/429", "hang", "large", "redirect?to=http://evil.test"):
            await tools.call(get(f"{service.server}/{path}"))
    assert (tmp_path / "r").read_bytes() == b""


@pytest.mark.parametrize(
    "carried",
    [
        {"header": "Authorization", "query": None},
        {"header": None, "query": "api_key"},
        {"header": None, "query": "key"},
    ],
)
async def test_no_key_comes_out_of_the_broker(
    service: FilmService, tmp_path: Path, caplog: pytest.LogCaptureFixture, carried: dict[str, str | None]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = Secret(env="FILM_KEY", format="Bearer {key}", **carried)  # type: ignore[arg-type]
    quoted = KEY.replace("/", "%2F")
    host = service.host
    requests = [
        get(f"{service.server}/echo"),
        get(f"{service.server}/keep_query?a=1"),
        get(f"{service.server}/redirect?to=/3/echo?word={quoted}"),
        get(f"{service.server}/echo?api_key={quoted}&token={KEY}&word={KEY}"),
        get(f"http://{KEY}:{KEY}@{host}/3/{KEY}/echo#{KEY}"),
        get(f"http://{KEY}.test/x"),
        get(f"ftp://{KEY}"),
        HttpRequest("POST", f"{service.server}/echo", json.dumps({"Authorization": f"Bearer {KEY}", "text": KEY})),
        HttpRequest("POST", f"{service.server}/echo", f"access_token={quoted}&text={quoted}"),
        HttpRequest("POST", f"{service.server}/echo", KEY),
        get(f"http://127.0.0.1:{free_port()}/{KEY}"),
        get(f"{service.server}/hang"),
    ]
    file = tmp_path / "r.jsonl"
    async with tools_of(
        service,
        secrets={host: secret},
        record_to=file,
        timeout=0.2,
        retries=0,
        allowed_hosts=(host, "127.0.0.1"),
    ) as tools:
        answers = [await tools.call(request) for request in requests]
    out = [*map(repr, answers), *(repr(answer.call.request) for answer in answers), file.read_text(), caplog.text]
    assert [place for place in out if KEY in place or quoted in place or "planted-secret" in place] == []
    assert any(KEY in str(request["headers"]) or quoted in request["query"] for request in service.requests)
    assert len(file.read_text().splitlines()) >= 5


def test_a_key_goes_over_plain_http_only_to_a_host_configured_with_its_port() -> None:
    keyring = Keyring({"films.test": BEARER, "films.test:8080": BEARER}, {"FILM_KEY": KEY})
    upgraded = add_credentials(httpx.Request("GET", "http://films.test/x"), keyring)
    plain = add_credentials(httpx.Request("GET", "http://films.test:8080/x"), keyring)
    other = add_credentials(httpx.Request("GET", "http://films.test:81/x"), keyring)
    assert [str(request.url) for request in (upgraded, plain)] == ["https://films.test/x", "http://films.test:8080/x"]
    assert "authorization" in upgraded.headers
    assert "authorization" not in other.headers


async def test_an_attempt_may_take_the_connection_and_twice_the_time_to_a_byte(
    service: FilmService, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines = []

    class Recorded(broker.LiveSource):
        def __init__(self, *arguments: Any, deadline: float, **more: Any) -> None:
            deadlines.append(deadline)
            super().__init__(*arguments, deadline=deadline, **more)

    monkeypatch.setattr(broker, "LiveSource", Recorded)
    async with tools_of(service, connect_timeout=3.0, timeout=7.0):
        assert deadlines == [17.0]
