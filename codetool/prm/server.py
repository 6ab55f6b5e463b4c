"""A PRM over HTTP: chats in, scores out, as the reference implementation's clients ask for them and in batches.

    POST /generate {"index": i, "messages": [system, user]} ->  {"response": score}
    POST /score {"messages": [[system, user], ...]}         ->  {"scores": [...], "tokens": computed, "tokens_asked": n}
    GET /health, GET /metrics                               ->  what is served, and Prometheus' text format

Whatever arrives while the model reads is read together next, whoever sent it. A request whose client leaves is dropped.
Whatever is not served is answered by `{"detail": why}`: 400 no JSON, 422 not what is expected, 413 too much, 503 with
Retry-After while too many chats wait. Clients of the reference implementation read `response` whatever the status, so
`/generate` adds `{"response": number, "error": why}`: 0 for a chat that is too long to be judged, else null.
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
from codetool.prm.label_scorer import Judge, Judged, count_characters
from codetool.prm.server_metrics import TYPE, Measured, Metrics
from codetool.prm.server_requests import CONTENT_TOO_LARGE, DISCONNECTED, Generate, Refused, Score, read
from codetool.prompts.messages import Message

GENERATE = "/generate"
PATHS = {GENERATE: "POST", "/score": "POST", "/health": "GET", "/metrics": "GET"}
LONGEST_PAUSE = 60
"""Seconds that a client is told to wait at most."""
ESCAPED = 12
"""Bytes of one character in JSON at most: a surrogate pair, both escaped."""
ENVELOPE = 65_536
"""Bytes of a request beside the texts of its chat."""

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
    characters: int | None = None
    """Of the texts of one chat, where so many exceed the model's context for certain; None where that is not known."""

    def body(self, kind: type[Generate | Score]) -> int:
        """Bytes of the body of a request of a kind: one chat cannot have more than its characters, escaped, take."""
        if kind is Score or self.characters is None:
            return self.bytes
        return min(self.bytes, ESCAPED * self.characters + ENVELOPE)


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
            values, judged = await self._judged(request, Score)
            return JSONResponse({"scores": values, "tokens": judged.tokens_computed, "tokens_asked": judged.tokens})

        async def health() -> Response:
            limits = {"max_chats": self._limits.chats, "queue": self._limits.waiting}
            return JSONResponse({"status": "ending" if self._ended else "ok", **self._about, **limits})

        async def metrics() -> Response:
            return Response(self.metrics.text(), media_type=TYPE)

        return {GENERATE: generate, "/score": score, "/health": health, "/metrics": metrics}

    async def _judged(self, request: Request, kind: type[R]) -> tuple[list[float], Judged]:
        """A score for each of the request's chats, and the model's answer to them. Raises Refused."""
        chats = (await read(request, kind, self._limits.body(kind))).chats
        self._admit(len(chats))
        self._refuse_long(chats)
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
        self.metrics.scored(len(chats), judged.tokens_computed)
        return values, judged

    def _too_long(self, chats: Sequence[Sequence[Message]], place: int) -> Refused:
        reason = f"chat {place} is longer than the model's context"
        if self._length:
            reason += ": {} tokens, where {} fit".format(*self._length(chats[place]))
        return Refused(CONTENT_TOO_LARGE, reason, score=0.0)

    def _refuse_long(self, chats: Sequence[Sequence[Message]]) -> None:
        """Raise Refused for a chat whose characters tell that it exceeds the context: it is not tokenised first."""
        most = self._limits.characters
        for place, characters in enumerate(map(count_characters, chats)):
            if most is not None and characters > most:
                reason = f"chat {place} is longer than the model's context: {characters} characters, where {most} fit"
                raise Refused(CONTENT_TOO_LARGE, reason, score=0.0)

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


def _answer_error(
    request: Request, status: int, reason: str, headers: Mapping[str, str] | None = None, score: float | None = None
) -> Response:
    """An error in the layout of the path that was asked."""
    body: dict[str, Any] = {"detail": reason}
    if request.url.path == GENERATE:
        body = {"response": score, "error": reason, **body}
    return JSONResponse(body, status, headers=dict(headers or {}))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _answer_error(request, error.status, str(error), error.headers, error.score)


async def _nothing_there(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = ", ".join(f"{method} {path}" for path, method in PATHS.items())
    asked = f"{request.method} {request.url.path}"
    return _answer_error(request, error.status_code, f"{asked} is not served; {served} are", error.headers)


async def _our_fault(request: Request, error: Exception) -> Response:
    """The answer; uvicorn logs the error with its traceback."""
    return _answer_error(request, 500, f"the server failed: {type(error).__name__}: {error}")
