"""A PRM over HTTP: chats in, scores out, as the reference implementation's clients ask for them and in batches.

    POST /generate {"index": i, "messages": [system, user]}  ->  {"response": score}
    POST /score {"messages": [[system, user], ...]}          ->  {"scores": [...], "tokens": really read}
    GET /health, GET /metrics                                ->  what is served, and Prometheus' text format

Whatever arrives while the model reads is read together next, whoever sent it. A request whose client leaves is dropped.
Whatever is not served is answered by `{"detail": why}`: 400 no JSON, 422 not what is expected, 413 too much, 503 with
Retry-After while too many chats wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.prm.judge import Judge, Judged
from codetool.prm.server_metrics import TYPE, Measured, Metrics
from codetool.prm.server_requests import CONTENT_TOO_LARGE, DISCONNECTED, Generate, Refused, Score, read
from codetool.prompts import Message

PATHS = {"/generate": "POST", "/score": "POST", "/health": "GET", "/metrics": "GET"}
LONGEST_PAUSE = 60
"""Seconds that a client is told to wait at most."""

R = TypeVar("R", Generate, Score)


@dataclass(frozen=True)
class Limits:
    """What is accepted."""

    chats: int
    """Of one request."""
    waiting: int
    """Chats accepted and not yet answered."""
    bytes: int
    """Of the body of a request."""


class PRMServer:
    """The server of one PRM; `site` is its ASGI app."""

    paths = tuple(PATHS)

    def __init__(
        self,
        judge: Judge,
        about: Mapping[str, Any],
        limits: Limits,
        length: Callable[[Sequence[Message]], tuple[int, int]] | None = None,
    ) -> None:
        """`about` is what `/health` tells of the PRM; `length` tells a chat's tokens and the model's context."""
        self._judge, self._about, self._limits, self._length = judge, about, limits, length
        self._waiting, self._lasted, self._ended = 0, 0.0, False
        self._at_work: set[asyncio.Task[Judged]] = set()
        self.metrics = Metrics(lambda: self._waiting)
        app = FastAPI(title="CodeTool PRM", docs_url=None, redoc_url=None, openapi_url=None)
        for path, answer in self._answers().items():
            app.add_api_route(path, answer, methods=[PATHS[path]], response_model=None)
        app.add_exception_handler(Refused, _refused)
        app.add_exception_handler(HTTPException, _nothing_there)
        app.add_exception_handler(Exception, _our_fault)
        self.site: ASGIApp = Measured(app, self.metrics, PATHS.keys())

    def end(self) -> None:
        """Answer whoever still waits that the server ends, and accept no chat any more."""
        self._ended = True
        for task in self._at_work:
            task.cancel()

    def _answers(self) -> dict[str, Any]:
        async def generate(request: Request) -> Response:
            [value], _ = await self._judged(request, Generate)
            return JSONResponse({"response": value})

        async def score(request: Request) -> Response:
            values, tokens = await self._judged(request, Score)
            return JSONResponse({"scores": values, "tokens": tokens})

        async def health() -> Response:
            limits = {"max_chats": self._limits.chats, "queue": self._limits.waiting}
            return JSONResponse({"status": "ending" if self._ended else "ok", **self._about, **limits})

        async def metrics() -> Response:
            return Response(self.metrics.text(), media_type=TYPE)

        return {"/generate": generate, "/score": score, "/health": health, "/metrics": metrics}

    async def _judged(self, request: Request, kind: type[R]) -> tuple[list[float], int]:
        """A score for each of the request's chats, and the tokens read for them. Raises Refused."""
        chats = (await read(request, kind, self._limits.bytes)).chats
        self._admit(len(chats))
        started = time.monotonic()
        self._waiting += len(chats)
        try:
            judged = await self._unless_gone(request, chats)
        except CodeToolError as error:
            if isinstance(error, ConfigError) and self._length:  # what the model's chat template refuses
                raise Refused(422, str(error)) from error
            raise Refused(503 if isinstance(error, UnreachableError) else 502, str(error)) from error
        finally:
            self._waiting -= len(chats)
        values = [value for value in judged.values if value is not None]
        if len(values) < len(chats):
            raise self._too_long(chats, judged.values.index(None))
        self._lasted = time.monotonic() - started
        self.metrics.scored(len(chats), judged.tokens)
        return values, judged.tokens

    def _too_long(self, chats: Sequence[Sequence[Message]], place: int) -> Refused:
        reason = f"chat {place} is longer than the model's context"
        if self._length:
            reason += ": {} tokens, where {} fit".format(*self._length(chats[place]))
        return Refused(CONTENT_TOO_LARGE, reason)

    def _admit(self, chats: int) -> None:
        if self._ended:
            raise Refused(503, "the server is ending")
        if chats > self._limits.chats:
            what = f"{chats} chats are more than the {self._limits.chats} that a request may have"
            raise Refused(CONTENT_TOO_LARGE, f"{what}: send several requests")
        if self._waiting + chats > self._limits.waiting:
            pause = min(LONGEST_PAUSE, max(1, math.ceil(self._lasted)))
            what = f"{self._waiting} chats wait already, and {self._limits.waiting} may"
            raise Refused(503, f"{what}: ask again in {pause} s", retry_after=pause)

    async def _unless_gone(self, request: Request, chats: Sequence[Sequence[Message]]) -> Judged:
        """The model's answers. Raises Refused, and drops the work, if the client leaves before or the server ends."""
        asked = self._judge.judge(chats, f"POST {request.url.path}", new=len(chats) > 1)
        work, gone = asyncio.create_task(asked), asyncio.create_task(_gone(request))
        self._at_work.add(work)
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Refused(DISCONNECTED, "the client left")
            if work.cancelled():
                raise Refused(503, "the server is ending")
            return work.result()
        finally:
            self._at_work.discard(work)
            gone.cancel()
            work.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has left. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _detail(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": reason}, status, headers=dict(headers or {}))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _detail(error.status, str(error), error.headers)


async def _nothing_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = ", ".join(f"{method} {path}" for path, method in PATHS.items())
    asked = f"{request.method} {request.url.path}"
    return _detail(error.status_code, f"{asked} is not served; {served} are", error.headers)


async def _our_fault(request: Request, error: Exception) -> Response:
    """The answer; uvicorn logs the error with its traceback."""
    return _detail(500, f"the server failed: {type(error).__name__}: {error}")
