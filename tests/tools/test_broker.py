import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from broker_world import FILMS, Scripted, film_task, film_tools, get, settings
from pydantic import ValidationError

from codetool.errors import MissingError
from codetool.tools.answer_counts import AnswerCounts
from codetool.tools.broker import BrokerConfig
from codetool.tools.call_key import route_request
from codetool.tools.recordings import Recordings
from codetool.types import HttpRequest, ToolAnswer

FILM = f"{FILMS}/movie/1"

SECRET = {"env": "FILM_KEY", "header": None, "query": "key", "format": "{key}"}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file that holds the answer `recorded` to the film 1."""
    file = tmp_path / "r.jsonl"
    Recordings({}).add(
        file, ToolAnswer(route_request(get(FILM), film_tools()), 200, "recorded", "live"), datetime.now(UTC)
    )
    return file


async def ask(tools: BrokerConfig, *requests: HttpRequest) -> list[ToolAnswer]:
    async with tools.open() as broker:
        session = broker.session(film_task())
        return [await session.call(request) for request in requests]


def message(answer: ToolAnswer) -> str:
    return str(json.loads(answer.body)["error"]["message"])


async def test_offline_asks_the_recordings_then_the_replica(recording: Path) -> None:
    replica = Scripted({FILM: "replica", f"{FILMS}/movie/2": "replica"})
    tools = settings(recordings=(recording,), replica=replica)
    answers = await ask(tools, get(FILM), get(f"{FILMS}/movie/2"))
    assert [answer.body for answer in answers] == [answer.provenance for answer in answers] == ["recorded", "replica"]
    assert len(replica.asked) == 1


async def test_strict_never_asks_the_replica(recording: Path) -> None:
    replica = Scripted({f"{FILMS}/movie/2": "replica"})
    tools = settings(mode="strict", recordings=(recording,), replica=replica)
    known, unknown = await ask(tools, get(FILM), get(f"{FILMS}/movie/2"))
    assert (known.ok, unknown.failure, replica.asked) == (True, "miss", [])


async def test_a_miss_is_a_named_failure_with_endpoint_and_mode() -> None:
    (answer,) = await ask(settings(), get(FILM))
    assert (answer.status, answer.failure, answer.provenance, answer.ok) == (501, "miss", None, False)
    assert "GET /movie/{movie_id}" in message(answer) and "offline" in message(answer)


async def test_a_url_of_no_document_says_so() -> None:
    (answer,) = await ask(settings(), get(f"{FILMS}/nothing"))
    assert "no document" in message(answer)


@pytest.mark.parametrize("url", ["http://evil.test/3/movie/1", "https://api.films.test:8443/3/x", "file:///x", ""])
async def test_a_host_off_the_list_gets_an_answer_that_names_it_and_the_list(url: str) -> None:
    replica = Scripted({})
    (answer,) = await ask(settings(replica=replica, allowed_hosts=("api.films.test:443",)), get(url))
    assert (answer.status, answer.failure, replica.asked) == (403, "host_not_allowed", [])
    assert "api.films.test:443" in message(answer)


@pytest.mark.parametrize("hosts", [("api.films.test",), ("API.films.test:443",), None])
async def test_a_host_on_the_list_is_asked(hosts: tuple[str, ...] | None) -> None:
    (answer,) = await ask(settings(replica=Scripted({FILM: "replica"}), allowed_hosts=hosts), get(FILM))
    assert answer.ok


async def test_an_empty_list_allows_nothing() -> None:
    (answer,) = await ask(settings(allowed_hosts=()), get(FILM))
    assert answer.failure == "host_not_allowed"


async def test_the_budget_holds_for_all_concurrent_branches_of_a_task_and_for_each_task_apart() -> None:
    replica = Scripted({FILM: "replica"})
    async with settings(replica=replica, max_calls=3).open() as broker:
        one, other = broker.session(film_task()), broker.session(film_task())
        answers = await asyncio.gather(*(one.call(get(FILM)) for _ in range(10)))
        assert (await other.call(get(FILM))).ok
    spent = [answer for answer in answers if answer.failure == "budget"]
    assert (len(replica.asked), len(spent), spent[0].status) == (4, 7, 429)
    assert "3" in message(spent[0])


async def test_a_source_that_breaks_is_a_failed_answer_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    replica = Scripted({}, RuntimeError("broken inside"))
    with caplog.at_level(logging.ERROR):
        (answer,) = await ask(settings(replica=replica), get(FILM))
    assert (answer.failure, answer.status, answer.provenance) == ("unreachable", 502, None)
    assert "RuntimeError" in message(answer)
    assert "broken inside" in caplog.text


async def test_cancelling_a_call_is_not_swallowed() -> None:
    class Slow(Scripted):
        async def answer(self, call: object) -> None:
            await asyncio.sleep(60)

    async with settings(replica=Slow({})).open() as broker:
        waiting = asyncio.create_task(broker.session(film_task()).call(get(FILM)))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_the_waiting_time_is_measured() -> None:
    class Slow(Scripted):
        async def answer(self, call: object) -> ToolAnswer | None:
            await asyncio.sleep(0.05)
            return await super().answer(call)  # type: ignore[arg-type]

    (answer,) = await ask(settings(replica=Slow({FILM: ""})), get(FILM))
    assert 0.05 <= answer.seconds < 1


async def test_the_answer_carries_the_routed_call() -> None:
    (answer,) = await ask(settings(replica=Scripted({FILM: ""})), get(f"{FILM}?language=de"))
    assert (answer.call.endpoint, answer.call.arguments) == (
        "GET /movie/{movie_id}",
        {"movie_id": "1", "language": "de"},
    )


async def test_answers_are_counted_for_the_task_and_for_the_run(recording: Path) -> None:
    replica = Scripted({f"{FILMS}/movie/2": ""})
    async with settings(recordings=(recording,), replica=replica).open() as broker:
        for _ in range(2):
            session = broker.session(film_task())
            for url in (FILM, f"{FILMS}/movie/2", f"{FILMS}/movie/3", "http://evil.test"):
                await session.call(get(url))
    assert session.summary() == AnswerCounts(4, {"recorded": 1, "replica": 1}, {"host_not_allowed": 1, "miss": 1})
    assert broker.summary() == AnswerCounts(8, {"recorded": 2, "replica": 2}, {"host_not_allowed": 2, "miss": 2})


async def test_a_missing_recordings_file_is_named_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="none.jsonl"):
        async with settings(recordings=(tmp_path / "none.jsonl",)).open():
            pass


class WithoutChecksum:
    """A plug-in's source that does not say what its answers depend on."""

    async def answer(self, call: object) -> None: ...


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mode", "simulated", "simulator=openai simulator.model=NAME"),
        ("mode", "online", "'offline', 'strict', 'simulated' or 'live'"),
        ("allowed_hosts", ("https://a.test",), "`host` or `host:port`"),
        ("allowed_hosts", ("a.test/3",), "`host` or `host:port`"),
        ("secrets", {"https://a.test": SECRET}, "`host` or `host:port`"),
        ("max_calls", 0, "greater than 0"),
        ("replica", "tmdb", "ToolSource"),
        ("recorded_answers", WithoutChecksum(), r"WithoutChecksum has no checksum\(\)"),
        ("timeouts", 1, "timeouts"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(name: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**{name: value})
