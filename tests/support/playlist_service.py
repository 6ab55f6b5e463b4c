"""A music service on a real socket whose state changes: playlists, a player, and headers that it insists on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from codetool.types import Parameter, Task, Tool

VERSION = Parameter("Music-Version", "header")
PAGE = "<!DOCTYPE html><html><body>The service is busy</body></html>"
GARBAGE: dict[str, tuple[str, str]] = {
    "page": ("text/html", PAGE),
    "cut": ("application/json", '{"tracks": [1, 2'),
    "empty": ("application/json", ""),
    "cut_text": ("text/plain", '{"tracks": [1, 2'),
}


@dataclass
class PlaylistService:
    """The running service and everything that it was asked."""

    host: str = ""
    playlists: list[str] = field(default_factory=list)
    position: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    """How often a path still answers with garbage before it answers."""

    @property
    def server(self) -> str:
        return f"http://{self.host}/v1"

    def reset(self) -> None:
        self.playlists, self.position = [], 0
        self.requests, self.headers, self.faults = [], [], {}

    def writes(self) -> list[tuple[str, str]]:
        return [request for request in self.requests if request[0] not in ("GET", "HEAD")]

    def note(self, request: Request) -> None:
        self.requests.append((request.method, request.url.path.removeprefix("/v1")))
        self.headers.append(dict(request.headers))

    async def lists(self, request: Request) -> Response:
        self.note(request)
        if request.method == "POST":
            self.playlists.append((await request.json())["name"])
            return JSONResponse({"id": len(self.playlists)}, 201)
        return JSONResponse({"items": self.playlists})

    async def one(self, request: Request) -> Response:
        self.note(request)
        number = request.path_params["id"]
        if request.method == "DELETE":
            del self.playlists[number - 1]
            return Response(status_code=204)
        return JSONResponse({"name": self.playlists[number - 1]})

    async def next(self, request: Request) -> Response:
        self.note(request)
        self.position += 1
        return JSONResponse({"position": self.position})

    async def search(self, request: Request) -> Response:
        self.note(request)
        return JSONResponse({"found": (await request.json())["text"], "asked": len(self.requests)})

    async def faulty(self, request: Request) -> Response:
        self.note(request)
        kind = request.path_params["kind"]
        if self.faults.get(kind, 0) > 0:
            self.faults[kind] -= 1
            media, text = GARBAGE[kind]
            return Response(text, 200, media_type=media)
        return JSONResponse({"tracks": [1, 2, 3]})

    async def fail(self, request: Request) -> Response:
        self.note(request)
        return HTMLResponse(PAGE, 200)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/me/playlists", self.lists, methods=["GET", "POST"]),
                Route("/v1/playlists/{id:int}", self.one, methods=["GET", "DELETE"]),
                Route("/v1/me/player/next", self.next, methods=["POST"]),
                Route("/v1/search", self.search, methods=["POST"]),
                Route("/v1/faulty/{kind}", self.faulty),
                Route("/{path:path}", self.fail, methods=["GET", "POST", "DELETE", "TRACE", "PUT"]),
            ]
        )

    def tools(self) -> tuple[Tool, ...]:
        json = {"id": "integer"}
        operations = (
            ("GET", "/me/playlists"),
            ("POST", "/me/playlists"),
            ("GET", "/playlists/{id}"),
            ("DELETE", "/playlists/{id}"),
            ("POST", "/me/player/next"),
            ("POST", "/search"),
            ("GET", "/faulty/{kind}"),
        )
        return tuple(
            Tool(f"{method} {path}", method, self.server, path, parameters=(VERSION,), response=json)
            for method, path in operations
        )

    def task(self, name: str = "t") -> Task:
        return Task(id=name, query="q", tools=self.tools())


@contextmanager
def playlist_service() -> Iterator[PlaylistService]:
    """The service while the context is open, on a free port of 127.0.0.1."""
    service = PlaylistService()
    config: Any = uvicorn.Config(
        service.app(), host="127.0.0.1", port=0, log_level="critical", ws="none", timeout_graceful_shutdown=0
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    service.host = f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield service
    server.should_exit = True
    thread.join()
