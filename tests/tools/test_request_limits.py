"""A request of generated code that is too large is refused, counted, and leaves nothing large behind."""

from __future__ import annotations

import json

import pytest
from support.broker_world import FILMS, Scripted, film_task, get, settings

from codetool.tools import request_limits
from codetool.types import HttpRequest, ToolAnswer

FILM = f"{FILMS}/movie/5"
BASE = f"{FILM}?language="


def url_of(length: int) -> str:
    return BASE + "a" * (length - len(BASE))


async def ask(*requests: HttpRequest, **changed: object) -> list[ToolAnswer]:
    async with settings(replica=Scripted({FILM: "{}"}), **changed).open() as broker:
        session = broker.session(film_task())
        return [await session.call(request) for request in requests]


@pytest.mark.parametrize(
    ("at_the_bound", "above", "reason"),
    [
        (get(url_of(8_000)), get(url_of(8_001)), "the URL is longer than the 8,000 characters"),
        (
            HttpRequest("GET", FILM, "a" * 64_000),
            HttpRequest("GET", FILM, "a" * 63_999 + "ä"),
            "the body is larger than the 64,000 bytes",
        ),
        (
            HttpRequest("GET", FILM, None, (("a", "b" * 15_999),)),
            HttpRequest("GET", FILM, None, (("a", "b" * 8_000), ("c", "d" * 8_000))),
            "the headers are larger than the 16,000 bytes",
        ),
        (HttpRequest("M" * 20, FILM), HttpRequest("M" * 21, FILM), "the method is longer than the 20 characters"),
    ],
    ids=["url", "body", "headers", "method"],
)
async def test_a_request_at_a_limit_is_answered_and_one_above_it_is_refused(
    at_the_bound: HttpRequest, above: HttpRequest, reason: str
) -> None:
    within, refused = await ask(at_the_bound, above)
    assert within.failure in (None, "miss")
    assert (refused.failure, refused.status) == ("refused", 403)
    assert reason in json.loads(refused.body)["error"]["message"]


async def test_a_refused_request_keeps_the_beginning_of_its_url_and_no_secret() -> None:
    (refused,) = await ask(get("https://user:pass@evil.example/" + "a" * 220_000 + "?api_key=s3cret"))
    assert refused.call.url == "https://evil.example/" + "a" * 178 + "…"
    assert refused.call.arguments == {} and refused.call.request is None
    assert len(refused.body) < 200


async def test_refused_requests_count_against_the_limit_of_calls() -> None:
    too_long, elsewhere = get(url_of(9_000)), get("https://elsewhere.test/")
    answers = await ask(too_long, elsewhere, get(FILM), get(FILM), too_long, max_calls=3)
    assert [answer.failure for answer in answers] == ["refused", "host_not_allowed", None, "budget", "budget"]


async def test_the_bytes_of_a_task_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MAX_TASK_BYTES", 2 * (len(FILM) + len("{}")))
    answers = await ask(get(FILM), get(FILM), get(FILM))
    assert [answer.failure for answer in answers] == [None, None, "budget"]
    assert "bytes of requests and answers is spent" in answers[2].body
