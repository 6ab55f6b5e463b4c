"""What the broker's tests share: tools of a film service, settings with test values, scripted sources."""

from __future__ import annotations

from typing import Any

from codetool.tools.broker import BrokerConfig
from codetool.tools.simulator import NoSimulator
from codetool.types import HttpRequest, Parameter, Task, Tool, ToolAnswer, ToolCall

FILMS = "https://api.films.test/3"


def film_tools(server: str = FILMS) -> tuple[Tool, ...]:
    search = (
        Parameter("query", "query", required=True),
        Parameter("page", "query", type="integer", default=1),
        Parameter("include_adult", "query", type="boolean", default=False),
        Parameter("rating", "query", type="number"),
        Parameter("language", "query", default="en-US"),
        Parameter("genres", "query", type="array"),
    )
    movies = ("/search/movie", "/movie/{movie_id}", "/movie/{movie_id}/credits", "/movie/latest")
    paths = (*movies, "/tv/{tv_id}/season/{n}")
    reads = tuple(
        Tool(path, "GET", server, path, parameters=search if "search" in path else (), response={"id": "integer"})
        for path in paths
    )
    return (*reads, Tool(name="rate", method="POST", server=server, path="/movie/{movie_id}/rating"))


def film_task(server: str = FILMS) -> Task:
    return Task(id="t", query="q", tools=film_tools(server))


def settings(**changed: Any) -> BrokerConfig:
    values: dict[str, Any] = {
        "mode": "offline",
        "allowed_hosts": None,
        "max_calls": 100,
        "recordings": (),
        "record_to": None,
        "recorded_answers": None,
        "replica": None,
        "simulator": NoSimulator(),
        "tool_proxy": None,
        "connect_timeout": 1.0,
        "timeout": 1.0,
        "retries": 2,
        "backoff": 0.01,
        "max_bytes": 100_000,
        "connections": 1000,
        "secrets": {},
    }
    return BrokerConfig(**values | changed)


def get(url: str) -> HttpRequest:
    return HttpRequest("GET", url)


class Scripted:
    """A source that answers the URLs it was given, counts how often it was asked, and may break."""

    def __init__(self, answers: dict[str, str], error: Exception | None = None) -> None:
        self.answers = answers
        self.error = error
        self.asked: list[ToolCall] = []

    def checksum(self) -> None:
        """None."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        self.asked.append(call)
        if self.error:
            raise self.error
        body = self.answers.get(call.url)
        return None if body is None else ToolAnswer(call, 200, body, "replica")
