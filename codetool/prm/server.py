"""The HTTP server of a PRM: it receives chats and returns scores, singly or in batches.

    POST /generate {"index": i, "messages": [system, user]} ->  {"response": score}
    POST /score {"messages": [[system, user], ...]}         ->  {"scores": [...], "tokens": computed, "tokens_asked": n}
    GET /health, GET /metrics                               ->  what is served, and Prometheus' text format

Whatever arrives while the model reads is read together next, whoever sent it. A request whose client leaves is dropped.
Whatever is not served is answered by `{"detail": why}`: 400 no JSON, 422 not what is expected, 413 too much, 503 with
Retry-After while too many chats wait. Clients of the reference implementation read `response` whatever the status, so
`/generate` adds `{"response": number, "error": why}`: 0 for a chat that is too long to be scored, else null.
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
from codetool.prm.label_scorer import LabelScorer, LabelScores, count_characters
from codetool.prm.server_metrics import CONTENT_TYPE, MetricsMiddleware, ServerMetrics
from codetool.prm.server_requests import (
    CONTENT_TOO_LARGE,
    DISCONNECTED,
    GenerateRequest,
    RequestRefusedError,
    ScoreRequest,
    parse_request,
)
from codetool.prompts.messages import Message

GENERATE = "/generate"
PATHS = {GENERATE: "POST", "/score": "POST", "/health": "GET", "/metrics": "GET"}
MAX_RETRY_AFTER = 60
"""Seconds that a client is told to wait at most."""
MAX_BYTES_PER_CHARACTER = 12
"""Bytes of one character in JSON at most: a surrogate pair, both escaped."""
MAX_REQUEST_OVERHEAD = 65_536
"""Bytes of a request beside the texts of its chat."""

R = TypeVar("R", GenerateRequest, ScoreRequest)


@dataclass(frozen=True)
class RequestLimits:
    """What is accepted."""

    max_chats: int
    """Of one request."""
    max_waiting: int
    """Chats accepted and not yet answered."""
    max_body_bytes: int
    """Of the body of a request."""
    max_characters: int | None = None
    """Of the texts of one chat, where so many exceed the model's context for certain; None where that is not known."""

    def body_limit(self, kind: type[GenerateRequest | ScoreRequest]) -> int:
        """Bytes of the body of a request of a kind: one chat cannot have more than its characters, escaped, take."""
        if kind is ScoreRequest or self.max_characters is None:
            return self.max_body_bytes
        return min(self.max_body_bytes, MAX_BYTES_PER_CHARACTER * self.max_characters + MAX_REQUEST_OVERHEAD)


class PRMServer:
    """The server of one PRM; `site` is its ASGI app."""

    paths = tuple(PATHS)

    def __init__(
        self,
        scorer: LabelScorer,
        about: Mapping[str, Any],
        limits: RequestLimits,
        length: Callable[[Sequence[Message]], tuple[int, int]] | None = None,
    ) -> None:
        """`about` is what `/health` tells of the PRM; `length` tells a chat's tokens and the model's context."""
        self._scorer, self._description, self._limits, self._count_tokens = scorer, about, limits, length
        self._waiting, self._last_duration, self._is_ending = 0, 0.0, False
        self._running: set[asyncio.Task[LabelScores]] = set()
        self.metrics = ServerMetrics(lambda: self._waiting)
        app = FastAPI(title="CodeTool PRM", docs_url=None, redoc_url=None, openapi_url=None)
        for path, answer in self._make_handlers().items():
            app.add_api_route(path, answer, methods=[PATHS[path]], response_model=None)
        app.add_exception_handler(RequestRefusedError, _answer_refusal)
        app.add_exception_handler(HTTPException, _answer_not_found)
        app.add_exception_handler(Exception, _answer_internal_error)
        self.app: ASGIApp = MetricsMiddleware(app, self.metrics, PATHS.keys())

    def shut_down(self) -> None:
        """Answer whoever still waits that the server ends, and accept no chat any more."""
        self._is_ending = True
        for task in self._running:
            task.cancel()

    def _make_handlers(self) -> dict[str, Any]:
        async def generate(request: Request) -> Response:
            [value], _ = await self._score_request(request, GenerateRequest)
            return JSONResponse({"response": value})

        async def score(request: Request) -> Response:
            values, judged = await self._score_request(request, ScoreRequest)
            return JSONResponse({"scores": values, "tokens": judged.tokens_computed, "tokens_asked": judged.tokens})

        async def health() -> Response:
            limits = {"max_chats": self._limits.max_chats, "queue": self._limits.max_waiting}
            return JSONResponse({"status": "ending" if self._is_ending else "ok", **self._description, **limits})

        async def metrics() -> Response:
            return Response(self.metrics.render(), media_type=CONTENT_TYPE)

        return {GENERATE: generate, "/score": score, "/health": health, "/metrics": metrics}

    async def _score_request(self, request: Request, kind: type[R]) -> tuple[list[float], LabelScores]:
        """A score for each of the request's chats, and the model's answer to them. Raises Refused."""
        chats = (await parse_request(request, kind, self._limits.body_limit(kind))).chats
        self._check_capacity(len(chats))
        self._reject_long_chats(chats)
        started = time.monotonic()
        self._waiting += len(chats)
        try:
            judged = await self._cancel_on_disconnect(request, chats)
        except CodeToolError as error:
            if isinstance(error, ConfigError) and self._count_tokens:  # what the model's chat template refuses
                raise RequestRefusedError(422, str(error)) from error
            raise RequestRefusedError(503 if isinstance(error, UnreachableError) else 502, str(error)) from error
        finally:
            self._waiting -= len(chats)
        values = [value for value in judged.values if value is not None]
        if len(values) < len(chats):
            raise self._too_long_error(chats, judged.values.index(None))
        self._last_duration = time.monotonic() - started
        self.metrics.count_scores(len(chats), judged.tokens_computed)
        return values, judged

    def _too_long_error(self, chats: Sequence[Sequence[Message]], place: int) -> RequestRefusedError:
        reason = f"chat {place} is longer than the model's context"
        if self._count_tokens:
            reason += ": {} tokens, where {} fit".format(*self._count_tokens(chats[place]))
        return RequestRefusedError(CONTENT_TOO_LARGE, reason, score=0.0)

    def _reject_long_chats(self, chats: Sequence[Sequence[Message]]) -> None:
        """Raise Refused for a chat whose characters tell that it exceeds the context: it is not tokenised first."""
        most = self._limits.max_characters
        for place, characters in enumerate(map(count_characters, chats)):
            if most is not None and characters > most:
                reason = f"chat {place} is longer than the model's context: {characters} characters, where {most} fit"
                raise RequestRefusedError(CONTENT_TOO_LARGE, reason, score=0.0)

    def _check_capacity(self, chats: int) -> None:
        if self._is_ending:
            raise RequestRefusedError(503, "the server is ending")
        if chats > self._limits.max_chats:
            what = f"{chats} chats are more than the {self._limits.max_chats} that a request may have"
            raise RequestRefusedError(CONTENT_TOO_LARGE, f"{what}: send several requests")
        if self._waiting + chats > self._limits.max_waiting:
            pause = min(MAX_RETRY_AFTER, max(1, math.ceil(self._last_duration)))
            what = f"{self._waiting} chats wait already, and {self._limits.max_waiting} may"
            raise RequestRefusedError(503, f"{what}: ask again in {pause} s", retry_after=pause)

    async def _cancel_on_disconnect(self, request: Request, chats: Sequence[Sequence[Message]]) -> LabelScores:
        """The model's answers. Raises Refused, and drops the work, if the client leaves before or the server ends."""
        asked = self._scorer.score_chats(chats, f"POST {request.url.path}", new=len(chats) > 1)
        work, gone = asyncio.create_task(asked), asyncio.create_task(_wait_for_disconnect(request))
        self._running.add(work)
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise RequestRefusedError(DISCONNECTED, "the client left")
            if work.cancelled():
                raise RequestRefusedError(503, "the server is ending")
            return work.result()
        finally:
            self._running.discard(work)
            gone.cancel()
            work.cancel()


async def _wait_for_disconnect(request: Request) -> None:
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


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefusedError)
    return _answer_error(request, error.status, str(error), error.headers, error.score)


async def _answer_not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    served = ", ".join(f"{method} {path}" for path, method in PATHS.items())
    asked = f"{request.method} {request.url.path}"
    return _answer_error(request, error.status_code, f"{asked} is not served; {served} are", error.headers)


async def _answer_internal_error(request: Request, error: Exception) -> Response:
    """The answer; uvicorn logs the error with its traceback."""
    return _answer_error(request, 500, f"the server failed: {type(error).__name__}: {error}")
