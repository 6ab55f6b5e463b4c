"""Runs reference programs on the replica, with nothing between them but `requests` answered in process.

`python tests/benchmarks/reference.py` writes the answers and gold paths of `tmdb_verified` anew.
"""

import ast
import asyncio
import contextlib
import io
import json
from datetime import date
from unittest import mock
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests

from codetool.benchmarks.tmdb_verified import FOLDER, rows
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


def answered(row):
    """The stored task with the answer that its program prints and the path of endpoints that it takes."""
    printed, endpoints = run(row["program"])
    kind = row["answer"]["type"]
    return row | {"answer": {"type": kind, "value": _value(kind, printed.strip())}, "gold": endpoints}


def _value(kind, printed):
    if kind == "yes_no":
        return {"yes": True, "no": False}[printed]
    return ast.literal_eval(printed) if kind in ("number", "list", "ordered_list") else printed


if __name__ == "__main__":
    lines = [json.dumps(answered(row), ensure_ascii=False) + "\n" for row in rows()]
    (FOLDER / "tasks.jsonl").write_text("".join(lines), encoding="utf-8")
