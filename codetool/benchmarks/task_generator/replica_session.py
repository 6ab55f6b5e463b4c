"""Run reference programs on the film replica in this process: their `requests` calls are answered without a network."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests

from codetool.tmdb.app import SERVER
from codetool.tmdb.replica import TMDBReplica
from codetool.tool_calls.notation import format_call
from codetool.types import AnswerType, ToolAnswer, ToolCall

REPLICA = TMDBReplica(as_of=date(2024, 6, 1))
"""The replica with the date that `conf/replica/tmdb.yaml` sets."""
LOOP = asyncio.new_event_loop()
LITERAL_TYPES = frozenset({"number", "list", "ordered_list", "some_of"})


class ReplicaSession:
    """The state of one program's run: its variables, and every call with its response."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"requests": requests, "headers": {"accept": "application/json"}}
        self.endpoints: list[str] = []
        """Endpoints called, in order: `GET /movie/{movie_id}`."""
        self.calls: list[str] = []
        """The calls with arguments, in the notation of `Task.gold_calls`."""
        self.answers: list[ToolAnswer] = []
        self.printed = ""
        """Stripped output of the code that ran last."""

    def run(self, code: str) -> str:
        """Run one step and return its output, stripped. Raises whatever the code raises."""
        out = io.StringIO()
        with (
            mock.patch.object(requests.adapters.HTTPAdapter, "send", self._send),
            mock.patch.object(
                requests.sessions, "get_environ_proxies", lambda *_, **__: {}
            ),  # looking up proxies took a tenth of the time
            contextlib.redirect_stdout(out),
        ):
            exec(code, self.scope)  # only programs of this package, never a model's
        self.printed = out.getvalue().strip()
        return self.printed

    def _send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        endpoint, answer = request_replica(url, parts.query)
        self.endpoints.append(endpoint)
        self.calls.append(format_call(answer.call, SERVER))
        self.answers.append(answer)
        response = requests.Response()
        response.status_code, response._content, response.url = answer.status, answer.body.encode(), request.url or ""
        response.request = request
        return response


@lru_cache(maxsize=1 << 16)  # the replica is constant, and corrupted programs repeat calls
def request_replica(url: str, query: str = "") -> tuple[str, ToolAnswer]:
    """Return the endpoint of a GET request and the replica's response. Raises LookupError for an unknown path."""
    call = ToolCall("GET", url, dict(parse_qsl(query)))
    endpoint, answer = REPLICA.endpoint(call), LOOP.run_until_complete(REPLICA.answer(call))
    if endpoint is None or answer is None:
        raise LookupError(url)
    return endpoint, answer


def fetch_json(path: str) -> Any:
    """Return the parsed JSON of one response."""
    return json.loads(request_replica(SERVER + path)[1].body)


def run_program(program: Sequence[str]) -> ReplicaSession:
    """Run all steps of a program and return the session."""
    session = ReplicaSession()
    for step in program:
        session.run(step)
    return session


def parse_answer(kind: AnswerType, printed: str) -> Any:
    """Parse a program's output as an answer of that type. Raises ValueError if the output is empty."""
    if printed in ("", "[]", "None"):
        raise ValueError(f"a {kind} that is empty is no answer")
    if kind == "yes_no":
        return {"yes": True, "no": False}[printed]
    return ast.literal_eval(printed) if kind in LITERAL_TYPES or printed.startswith("[") else printed
