"""HTTP server compatible with StableToolBench's: `POST /virtual`, one GET URL for each API, and `/health`.

Requests are answered by the same sources as a run's tool calls: published answers, then the sources of `tools.mode`.
The reply of `/virtual` is `{"error", "response"}` and always has status 200, as its clients expect; the URLs of
single APIs return the status codes that a run's programs see.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hmac import compare_digest
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codetool.concurrency import large_data_scope
from codetool.http.request_body import BodyRefusedError, read_request_body
from codetool.interfaces import ToolSessionFactory
from codetool.runs.bounded_input import parse_json
from codetool.tool_calls.toolbench_api import SERVER, Api
from codetool.tools.request_arguments import group_by_name
from codetool.tools.toolbench.tool_docs import ToolDocuments
from codetool.types import JSON, HttpRequest, Task, ToolAnswer, ToolCall

CALLERS_KEYS = frozenset({"toolbench_key", "rapidapi_key"})
"""Arguments that clients of the server always add."""
MAX_REQUEST_BYTES = 1 << 20  # of a request's body, which holds arguments only


class VirtualRequest(BaseModel):
    """The body of `POST /virtual`; other fields are ignored."""

    category: Annotated[str, Field(min_length=1)]
    tool_name: Annotated[str, Field(min_length=1)]
    api_name: Annotated[str, Field(min_length=1)]
    tool_input: str | dict[str, Any] = ""
    toolbench_key: str = ""


def create_app(
    broker: ToolSessionFactory, documents: ToolDocuments, counts: Mapping[str, int], *, key: str, require_key: bool
) -> Starlette:
    """The server of a broker's sources. With `require_key` a request needs `key`, or any key if `key` is empty."""
    server = _Server(broker, documents, counts, key, require_key)
    routes = [
        Route("/virtual", server.virtual, methods=["POST"]),
        Route("/virtual/{category}/{tool}/{api}", server.single, methods=["GET"]),
        Route("/health", server.health),
        Route("/", server.health),
    ]
    return Starlette(routes=routes)


class _Server:
    def __init__(
        self,
        broker: ToolSessionFactory,
        documents: ToolDocuments,
        counts: Mapping[str, int],
        key: str,
        require_key: bool,
    ) -> None:
        self._broker, self._documents, self._counts = broker, documents, counts
        self._key, self._require_key = key, require_key

    async def virtual(self, request: Request) -> Response:
        """Answer `POST /virtual`; an invalid body gets status 422 with the reasons."""
        try:
            async with large_data_scope():
                body = await read_request_body(request, MAX_REQUEST_BYTES)
        except BodyRefusedError as error:
            return JSONResponse({"detail": str(error)}, error.status)
        try:
            virtual = VirtualRequest.model_validate_json(body)
        except ValidationError as error:
            reasons = error.errors(include_url=False, include_context=False, include_input=False)
            return JSONResponse({"detail": [dict(reason) for reason in reasons]}, 422)
        if self._refused(virtual.toolbench_key or request.headers.get("toolbench_key", "")):
            return JSONResponse({"error": "Unauthorized: the toolbench_key is not the right one", "response": ""}, 401)
        arguments = _parse_arguments(virtual.tool_input)
        if arguments is None:
            return JSONResponse({"error": "tool_input is no JSON object", "response": ""})
        api = Api.from_tool(virtual.category, virtual.tool_name, virtual.api_name)
        return JSONResponse(_format_reply(await self._ask(api, arguments)))

    async def single(self, request: Request) -> Response:
        """Answer a GET request of one API, with its arguments in the query string."""
        if self._refused(request.query_params.get("toolbench_key", request.headers.get("toolbench_key", ""))):
            return JSONResponse({"error": "Unauthorized: the toolbench_key is not the right one"}, 401)
        api = Api(*(request.path_params[name] for name in ("category", "tool", "api")))
        arguments = group_by_name(pair for pair in request.query_params.multi_items() if pair[0] != "toolbench_key")
        answer = await self._ask(api, arguments)
        return Response(answer.body, answer.status, media_type="application/json")

    async def health(self, request: Request) -> Response:
        """Report that the server runs, and the counts of calls by how they were found."""
        return JSONResponse({"status": "ok", "calls": dict(self._counts)})

    def _refused(self, given: str) -> bool:
        right = given and (not self._key or compare_digest(given.encode(), self._key.encode()))
        return self._require_key and not right

    async def _ask(self, api: Api, arguments: dict[str, JSON]) -> ToolAnswer:
        tool = self._documents.get_tool(api)
        url = SERVER + api.path
        arguments = {name: value for name, value in arguments.items() if name not in CALLERS_KEYS}
        call = ToolCall("GET", url, arguments, tool, HttpRequest("GET", url))
        return await self._broker.session(Task("virtual", "", (tool,))).answer(call)


def _parse_arguments(tool_input: str | dict[str, JSON]) -> dict[str, JSON] | None:
    """Parse the arguments; None if the text is not a JSON object. An empty text means no arguments."""
    if not isinstance(tool_input, str):
        return tool_input
    try:
        arguments = parse_json(tool_input or "{}")
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


def _format_reply(answer: ToolAnswer) -> dict[str, JSON]:
    """Format an answer as `{"error", "response"}`."""
    try:
        data = parse_json(answer.body) if answer.body else ""
    except ValueError:  # a live host may answer with other than JSON
        data = answer.body
    if answer.ok:
        return {"error": "", "response": data}
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict) and answer.failure:
        error = error.get("message", error)
    return {"error": error if isinstance(error, str) else json.dumps(error, ensure_ascii=False), "response": ""}
