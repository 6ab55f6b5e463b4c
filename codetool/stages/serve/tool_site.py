"""Web app over any source of tool answers: what stage=serve_tools serves where a source brings no app of its own.

A request goes to the broker as generated code would send it. `/HOST/path` stands for `https://HOST/path`, with the host
of a tool of the benchmark; a benchmark with one server also answers `/path` as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codetool.credentials.api_keys import read_key
from codetool.http.request_body import BodyRefusedError, read_request_body
from codetool.interfaces import ToolSessionFactory
from codetool.tools.request_limits import MAX_BODY_BYTES
from codetool.types import HttpRequest, Task, Tool

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class ToolSite:
    """Tools of a benchmark, served from the sources of `tools.mode`."""

    tools: Sequence[Tool]

    KEY = "CODETOOL_TOOLS_KEY"
    ENTRY = "{url}/HOST/path answers for https://HOST/path, the host of a tool of the benchmark"

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: ToolSessionFactory) -> ASGIApp:
        """Return the app. A required key must equal `KEY` in the environment if that is set; else any key is valid."""
        from starlette.applications import Starlette
        from starlette.responses import Response
        from starlette.routing import Route

        key = read_key(self.KEY, environment) or ""
        task = Task("serve_tools", "", tuple(self.tools))

        async def answer(request: Request) -> Response:
            if require_key and not _has_key(request, key):
                return _refuse(401, "a bearer token is required")
            if (url := self._find_url(request)) is None:
                hosts = ", ".join(sorted({urlsplit(tool.server).netloc for tool in self.tools}))
                return _refuse(404, f"the path begins with none of the hosts of the tools: {hosts}")
            try:
                body = await read_request_body(request, MAX_BODY_BYTES)
            except BodyRefusedError as error:
                return _refuse(error.status, str(error))
            headers = tuple((name, value) for name, value in request.headers.items() if name == "content-type")
            sent = HttpRequest(request.method, url, body.decode("utf-8", "replace") or None, headers)
            answered = await broker.session(task).call(sent)
            return Response(answered.body, answered.status, media_type="application/json")

        return Starlette(routes=[Route("/{path:path}", answer, methods=[*METHODS])])

    def _find_url(self, request: Request) -> str | None:
        """Return the URL of the service that a request stands for; None if no tool has its host."""
        servers = {urlsplit(tool.server).netloc: tool.server for tool in self.tools}
        host, _, rest = request.url.path.lstrip("/").partition("/")
        if host in servers:
            url = f"{urlsplit(servers[host]).scheme}://{host}/{rest}"
        elif len({tool.server for tool in self.tools}) == 1:
            url = self.tools[0].server.rstrip("/") + request.url.path
        else:
            return None
        return f"{url}?{request.url.query}" if request.url.query else url


def _has_key(request: Request, key: str) -> bool:
    """Whether a request carries the key as its bearer token, or any token if there is no key."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return compare_digest(given.encode(), key.encode()) if key else bool(given)


def _refuse(status: int, message: str) -> Response:
    from starlette.responses import Response

    return Response(json.dumps({"error": message}), status, media_type="application/json")
