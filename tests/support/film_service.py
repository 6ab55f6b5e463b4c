"""A film service on a real socket that misbehaves on request, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "planted-secret/0123456789"


@dataclass
class FilmService:
    """The running service: its host with port, and every request it got."""

    host: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"http://{self.host}/3"

    def seen(self, path: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["path"] == path]

    async def remember(self, request: Request) -> int:
        """How often this path was asked, this time included."""
        self.requests.append(
            {
                "path": request.url.path,
                "query": request.url.query,
                "headers": dict(request.headers),
                "body": (await request.body()).decode(),
            }
        )
        return len(self.seen(request.url.path))

    async def film(self, request: Request) -> Response:
        await self.remember(request)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": "no valid token"}, 401)
        return JSONResponse({"id": request.path_params["id"], "title": "Véronique"}, headers={"Set-Cookie": "s=1"})

    async def rate(self, request: Request) -> Response:
        await self.remember(request)
        return JSONResponse({}, 503)

    async def status(self, request: Request) -> Response:
        """Answers with the status in the path, and from the third time on with 200."""
        times = await self.remember(request)
        return JSONResponse({"times": times}, 200 if times > 2 else request.path_params["status"])

    async def always(self, request: Request) -> Response:
        await self.remember(request)
        return JSONResponse({"down": True}, request.path_params["status"])

    async def hang(self, request: Request) -> Response:
        await self.remember(request)
        await asyncio.sleep(30)
        return JSONResponse({})

    async def drip(self, request: Request) -> Response:
        async def bytes_() -> Any:
            for _ in range(300):
                yield b"x"
                await asyncio.sleep(0.1)

        await self.remember(request)
        return StreamingResponse(bytes_())

    async def slow(self, request: Request) -> Response:
        await self.remember(request)
        await asyncio.sleep(0.5)
        return JSONResponse({})

    async def large(self, request: Request) -> Response:
        await self.remember(request)
        return JSONResponse("x" * 200_000)

    async def echo(self, request: Request) -> Response:
        """Everything it was sent, as debugging services do, in body and headers."""
        await self.remember(request)
        return JSONResponse(self.requests[-1], headers={"X-Echo": request.headers.get("authorization", "")})

    async def redirect(self, request: Request) -> Response:
        await self.remember(request)
        return RedirectResponse(request.query_params["to"], 302)

    async def circle(self, request: Request) -> Response:
        await self.remember(request)
        return RedirectResponse("/3/circle", 302)

    async def keep_query(self, request: Request) -> Response:
        await self.remember(request)
        return RedirectResponse(f"/3/echo?{request.url.query}", 301)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/3/movie/{id}", self.film),
                Route("/3/movie/{id}/rating", self.rate, methods=["POST"]),
                Route("/3/status/{status:int}", self.status),
                Route("/3/always/{status:int}", self.always),
                Route("/3/hang", self.hang),
                Route("/3/drip", self.drip),
                Route("/3/slow", self.slow),
                Route("/3/large", self.large),
                Route("/3/echo", self.echo, methods=["GET", "POST"]),
                Route("/3/redirect", self.redirect, methods=["GET", "POST"]),
                Route("/3/circle", self.circle),
                Route("/3/keep_query", self.keep_query),
            ]
        )


@contextmanager
def film_service() -> Iterator[FilmService]:
    """The service while the context is open, on a free port of 127.0.0.1."""
    service = FilmService()
    config = uvicorn.Config(
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
