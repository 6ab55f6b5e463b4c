"""Runs a reference program on the replica, with nothing between them but `requests` answered in process."""

import asyncio
import contextlib
import io
from datetime import date
from unittest import mock
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests

from codetool.tools.tmdb.replica import TMDBReplica
from codetool.types import ToolCall

REPLICA = TMDBReplica(as_of=date(2024, 6, 1))


def run(program):
    """What the last step printed, and the endpoints called in order."""
    endpoints = []

    def send(adapter, request, **_):
        parts = urlsplit(request.url)
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        before = REPLICA.calls.copy()
        answer = asyncio.run(REPLICA.answer(ToolCall(request.method, url, dict(parse_qsl(parts.query)))))
        endpoints.extend(REPLICA.calls - before)
        response = requests.Response()
        response.status_code, response._content, response.url = answer.status, answer.body.encode(), request.url
        response.request = request
        return response

    scope = {"requests": requests, "headers": {"accept": "application/json"}}
    with mock.patch.object(requests.adapters.HTTPAdapter, "send", send):
        for step in program:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(step, scope)  # the program is ours, from the package's own data
    return printed.getvalue(), endpoints
