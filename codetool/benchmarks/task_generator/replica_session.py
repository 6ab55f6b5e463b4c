"""The replica as reference programs meet it: plain `requests`, answered in this process."""

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
from codetool.tool_calls.notation import written
from codetool.types import AnswerType, ToolAnswer, ToolCall

REPLICA = TMDBReplica(as_of=date(2024, 6, 1))
"""As `conf/replica/tmdb.yaml` sets it."""
LOOP = asyncio.new_event_loop()
LITERAL = frozenset({"number", "list", "ordered_list", "some_of"})


class Session:
    """One program's run: its variables, and every call that it made with the answer."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"requests": requests, "headers": {"accept": "application/json"}}
        self.endpoints: list[str] = []
        """`GET /movie/{movie_id}`, in order."""
        self.calls: list[str] = []
        """The same with arguments, as `Task.gold_calls` writes them."""
        self.answers: list[ToolAnswer] = []
        self.printed = ""
        """What the last code printed, stripped."""

    def run(self, code: str) -> str:
        """What the code prints, stripped. Raises whatever it raises."""
        out = io.StringIO()
        with (
            mock.patch.object(requests.adapters.HTTPAdapter, "send", self._send),
            mock.patch.object(requests.sessions, "get_environ_proxies", lambda *_, **__: {}),  # a tenth of all time
            contextlib.redirect_stdout(out),
        ):
            exec(code, self.scope)  # a program of this repository, never a model's
        self.printed = out.getvalue().strip()
        return self.printed

    def _send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        endpoint, answer = answered(url, parts.query)
        self.endpoints.append(endpoint)
        self.calls.append(written(answer.call, SERVER))
        self.answers.append(answer)
        response = requests.Response()
        response.status_code, response._content, response.url = answer.status, answer.body.encode(), request.url or ""
        response.request = request
        return response


@lru_cache(maxsize=1 << 16)  # the replica's answers never change, and damaged programs ask for much again
def answered(url: str, query: str = "") -> tuple[str, ToolAnswer]:
    """The operation asked for and the replica's answer. Raises LookupError for a path it has no route for."""
    call = ToolCall("GET", url, dict(parse_qsl(query)))
    endpoint, answer = REPLICA.endpoint(call), LOOP.run_until_complete(REPLICA.answer(call))
    if endpoint is None or answer is None:
        raise LookupError(url)
    return endpoint, answer


def ask(path: str) -> Any:
    """The JSON of one answer."""
    return json.loads(answered(SERVER + path)[1].body)


def followed(program: Sequence[str]) -> Session:
    """The session after all steps."""
    session = Session()
    for step in program:
        session.run(step)
    return session


def value(kind: AnswerType, printed: str) -> Any:
    """The answer of that type in what a program printed. Raises ValueError if that is empty."""
    if printed in ("", "[]", "None"):
        raise ValueError(f"a {kind} that is empty is no answer")
    if kind == "yes_no":
        return {"yes": True, "no": False}[printed]
    return ast.literal_eval(printed) if kind in LITERAL or printed.startswith("[") else printed
