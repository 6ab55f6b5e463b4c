"""Live tools behind a proxy that spoils answers: retried, never recorded, and never charged to the program."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from broker_world import get, settings
from fault_proxy import ANY_KINDS, Exchange, FaultProxy, run_proxies

from codetool.errors import UnreachableError
from codetool.http.fault_counts import FaultCounts, collect_faults
from codetool.types import HttpRequest, Task, Tool, ToolAnswer

COUNTED = {
    "reset": "connection_lost", "truncated": "truncated_body", "empty": "empty_body", "slow_drip": "slow_body",
    "status_429_retry_after": "status_429",
}  # fmt: skip
FILM = {"id": 7, "title": "Véronique"}


async def answer(exchange: Exchange) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(FILM).encode()


@contextmanager
def spoiled(*faults: str) -> Iterator[FaultProxy]:
    """A proxy whose requests meet these faults, one after the other."""
    left, proxy = iter(faults), FaultProxy(answer, rate=0.0)
    proxy.is_broken = lambda exchange: next(left, None)
    with run_proxies(proxy):
        yield proxy


def film_task(server: str) -> Task:
    shape = {"id": "integer", "title": "string"}
    read = Tool("film", "GET", server, "/movie/{movie_id}", response=shape)
    return Task("t", "q", (read, Tool("rate", "POST", server, "/movie/{movie_id}/rating")))


async def ask(
    proxy: FaultProxy, file: Path | None = None, request: HttpRequest | None = None, **changed: object
) -> tuple[ToolAnswer, UnreachableError | None, FaultCounts]:
    """The answer, why the task cannot be scored, and the faults."""
    task = film_task(proxy.url)
    values = {"mode": "live", "record_to": file, "retries": 3, "timeout": 2.0, "connect_timeout": 2.0} | changed
    with collect_faults() as counts:
        async with settings(**values).open([task]) as broker:
            session = broker.session(task)
            answer = await session.call(request or get(f"{proxy.url}/movie/7"))
            return answer, session.fatal_error, counts


@pytest.mark.parametrize("kind", ANY_KINDS)
async def test_three_faults_in_a_row_change_nothing_and_are_counted(tmp_path: Path, kind: str) -> None:
    seconds = 0.2 if kind in {"timeout", "slow_drip"} else 2.0
    with spoiled(kind, kind, kind) as proxy:
        found, error, counts = await ask(proxy, tmp_path / "r", timeout=seconds, connect_timeout=seconds)
    assert (json.loads(found.body), found.provenance, error) == (FILM, "live", None)
    assert counts.encode() == {"tools": {"kinds": {COUNTED.get(kind, kind): 3}}}
    assert len((tmp_path / "r").read_text().splitlines()) == 1


@pytest.mark.parametrize("kind", [kind for kind in ANY_KINDS if kind not in {"timeout", "slow_drip"}])
async def test_a_fault_that_stays_makes_the_task_internal_and_is_not_recorded(tmp_path: Path, kind: str) -> None:
    with spoiled(*[kind] * 9) as proxy:
        found, error, counts = await ask(proxy, tmp_path / "r", retries=1)
    assert not found.ok and found.transient
    assert "1 of 1 tool calls had no answer after every attempt" in str(error)
    assert counts.amounts["tools"] == {"given_up": 1}
    assert (tmp_path / "r").read_bytes() == b""


@pytest.mark.parametrize("status", [407, 408, 425, 429, 500, 502, 503, 504, 520])
async def test_every_status_that_may_pass_is_retried(status: int) -> None:
    with spoiled(f"status_{status}", f"status_{status}") as proxy:
        found, error, _ = await ask(proxy)
    assert found.ok and error is None and proxy.requests == 3


@pytest.mark.parametrize("path", ["/movie/7/nowhere", "/anything"])
async def test_an_invented_address_that_makes_the_service_fail_is_the_programs_own_doing(path: str) -> None:
    with spoiled(*["status_500"] * 9) as proxy:
        found, error, _ = await ask(proxy, request=get(f"{proxy.url}{path}"), retries=1)
    assert (found.status, error) == (500, None)


async def test_a_write_that_fails_is_sent_once_and_makes_the_task_internal() -> None:
    with spoiled("status_503") as proxy:
        found, error, _ = await ask(proxy, request=HttpRequest("POST", f"{proxy.url}/movie/7/rating", '{"value": 8}'))
    assert (found.status, proxy.requests) == (503, 1) and "it answered 503" in str(error)


async def test_an_error_object_with_fields_of_the_declared_answer_is_an_answer() -> None:
    async def report(exchange: Exchange) -> tuple[int, str, bytes]:
        return 200, "application/json", json.dumps({"id": 7, "message": "temporarily not in cinemas"}).encode()

    proxy = FaultProxy(report, rate=0.0)
    with run_proxies(proxy):
        found, error, _ = await ask(proxy)
    assert found.ok and error is None and proxy.requests == 1


@pytest.mark.parametrize("message", ["no such film", {"code": 7, "text": "the film is unknown"}])
async def test_an_error_object_about_the_call_is_an_answer(message: object) -> None:
    async def report(exchange: Exchange) -> tuple[int, str, bytes]:
        return 200, "application/json", json.dumps({"error": message}).encode()

    proxy = FaultProxy(report, rate=0.0)
    with run_proxies(proxy):
        found, error, _ = await ask(proxy)
    assert found.ok and error is None and proxy.requests == 1


async def test_a_broken_compression_is_retried() -> None:
    broken = iter([True, True, False])

    async def compress(exchange: Exchange) -> tuple[int, str, bytes]:
        status, kind, content = await answer(exchange)
        if next(broken):
            return status, f"{kind}\r\nContent-Encoding: gzip", gzip.compress(content)[:12] + b"garbage garbage"
        return status, kind, content

    proxy = FaultProxy(compress, rate=0.0)
    with run_proxies(proxy):
        found, error, _ = await ask(proxy)
    assert found.ok and error is None


async def test_waiting_for_a_free_connection_is_not_the_services_silence() -> None:
    async def slowly(exchange: Exchange) -> tuple[int, str, bytes]:
        await asyncio.sleep(0.3)
        return await answer(exchange)

    proxy = FaultProxy(slowly, rate=0.0)
    with run_proxies(proxy):
        task = film_task(proxy.url)
        values = {"mode": "live", "connections": 2, "retries": 0, "timeout": 1.5, "connect_timeout": 0.1}
        async with settings(**values).open([task]) as broker:
            session = broker.session(task)
            calls = [session.call(get(f"{proxy.url}/movie/{i}")) for i in range(24)]  # 3.6 s, two at a time
            answers = await asyncio.gather(*calls)
    assert all(each.ok for each in answers)


async def test_a_page_with_an_error_status_is_told_and_not_recorded(tmp_path: Path) -> None:
    async def page(exchange: Exchange) -> tuple[int, str, bytes]:
        return 404, "text/html", b"<html>no backend for this host</html>"

    proxy = FaultProxy(page, rate=0.0)
    with run_proxies(proxy):
        found, _, _ = await ask(proxy, tmp_path / "r")
    assert found.status == 404 and (tmp_path / "r").read_bytes() == b""
