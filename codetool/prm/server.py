"""The HTTP server of a PRM: it receives chats and returns scores, singly or in batches.

    POST /generate {"index": i, "messages": [system, user]} ->  {"response": score}
    POST /score {"messages": [[system, user], ...]}         ->  {"scores": [...], "tokens": computed, "tokens_asked": n}
    GET /health, GET /metrics                               ->  the served model, and Prometheus' text format

Requests that arrive during a forward pass are batched together in the next one. A request whose client disconnects is
dropped. A refused request gets `{"detail": reason}` with status 400 (invalid JSON), 422 (invalid content), 413 (too
large) or 503 (too many chats waiting, with Retry-After). Clients of the reference implementation read `response`
whatever the status, so `/generate` adds `{"response": number, "error": reason}`: 0 for a chat that is too long, else
null.
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
from starlette.routing import Route
from starlette.types import ASGIApp

from codetool.concurrency import large_data_scope
from codetool.credentials.masking import mask_text
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.prm.label_scorer import LabelScorer, LabelScores, count_characters
from codetool.prm.server_metrics import MetricsMiddleware, ServerMetrics
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
MAX_WAITING_CHARACTERS = 50_000_000
"""Maximum number of characters of all waiting chats together."""
MAX_RETRY_AFTER = 60
"""Maximum value of Retry-After, in seconds."""
MAX_BYTES_PER_CHARACTER = 12
"""Maximum number of bytes of one character in JSON: an escaped surrogate pair."""
MAX_REQUEST_OVERHEAD = 65_536
"""Number of bytes that a request may have in addition to the texts of its chat."""

R = TypeVar("R", GenerateRequest, ScoreRequest)


@dataclass(frozen=True)
class RequestLimits:
    """Limits on the requests that a PRM server accepts."""

    max_chats: int
    """Maximum number of chats in one request."""
    max_waiting: int
    """Maximum number of chats that are accepted and not yet answered."""
    max_body_bytes: int
    """Maximum size of a request body, in bytes."""
    max_characters: int | None = None
    """Maximum number of characters of one chat: more must exceed the model's context. None if that is not known."""

    def body_limit(self, kind: type[GenerateRequest | ScoreRequest]) -> int:
        """Return the maximum body size in bytes; for a single chat, the size of its escaped characters limits it."""
        if kind is ScoreRequest or self.max_characters is None:
            return self.max_body_bytes
        return min(self.max_body_bytes, MAX_BYTES_PER_CHARACTER * self.max_characters + MAX_REQUEST_OVERHEAD)


class PRMServer:
    """The HTTP server of one PRM; `app` is its ASGI app."""

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
        self._waiting, self._waiting_characters, self._last_duration, self._is_ending = 0, 0, 0.0, False
        self._running: set[asyncio.Task[LabelScores]] = set()
        self.metrics = ServerMetrics(lambda: self._waiting)
        app = FastAPI(title="CodeTool PRM", docs_url=None, redoc_url=None, openapi_url=None)
        for path, answer in self._make_handlers().items():
            app.add_api_route(path, answer, methods=[PATHS[path]], response_model=None)
        app.router.routes.append(Route("/metrics", self.metrics, methods=[PATHS["/metrics"]]))
        app.add_exception_handler(RequestRefusedError, _answer_refusal)
        app.add_exception_handler(HTTPException, _answer_not_found)
        app.add_exception_handler(Exception, _answer_internal_error)
        self.app: ASGIApp = MetricsMiddleware(app, self.metrics, PATHS.keys())

    def shut_down(self) -> None:
        """Refuse all waiting and all further requests, because the server is ending."""
        self._is_ending = True
        for task in self._running:
            task.cancel()

    def _make_handlers(self) -> dict[str, Any]:
        async def generate(request: Request) -> Response:
            [value], _ = await self._score_request(request, GenerateRequest)
            return JSONResponse({"response": value})

        async def score(request: Request) -> Response:
            values, result = await self._score_request(request, ScoreRequest)
            return JSONResponse({"scores": values, "tokens": result.tokens_computed, "tokens_asked": result.tokens})

        async def health() -> Response:
            limits = {"max_chats": self._limits.max_chats, "queue": self._limits.max_waiting}
            return JSONResponse({"status": "ending" if self._is_ending else "ok", **self._description, **limits})

        return {GENERATE: generate, "/score": score, "/health": health}

    async def _score_request(self, request: Request, kind: type[R]) -> tuple[list[float], LabelScores]:
        """Return a score for each chat of the request, and the scorer's full result.

        Raises RequestRefusedError if the request cannot be served.
        """
        async with large_data_scope():
            chats = (await parse_request(request, kind, self._limits.body_limit(kind))).chats
        self._check_capacity(len(chats))
        self._reject_long_chats(chats)
        characters = sum(map(count_characters, chats))
        self._check_memory(characters)
        started = time.monotonic()
        self._waiting += len(chats)
        self._waiting_characters += characters
        try:
            result = await self._cancel_on_disconnect(request, chats)
        except CodeToolError as error:
            if isinstance(error, ConfigError) and self._count_tokens:  # what the model's chat template refuses
                raise RequestRefusedError(422, str(error)) from error
            raise RequestRefusedError(503 if isinstance(error, UnreachableError) else 502, str(error)) from error
        finally:
            self._waiting -= len(chats)
            self._waiting_characters -= characters
        values = [value for value in result.values if value is not None]
        if len(values) < len(chats):
            raise self._too_long_error(chats, result.values.index(None))
        self._last_duration = time.monotonic() - started
        self.metrics.count_scores(len(chats), result.tokens_computed)
        return values, result

    def _too_long_error(self, chats: Sequence[Sequence[Message]], index: int) -> RequestRefusedError:
        reason = f"chat {index} is longer than the model's context"
        if self._count_tokens:
            reason += ": {} tokens, where {} fit".format(*self._count_tokens(chats[index]))
        return RequestRefusedError(CONTENT_TOO_LARGE, reason, score=0.0)

    def _reject_long_chats(self, chats: Sequence[Sequence[Message]]) -> None:
        """Raise RequestRefusedError for a chat with too many characters for the context, without tokenizing it."""
        limit = self._limits.max_characters
        for index, characters in enumerate(map(count_characters, chats)):
            if limit is not None and characters > limit:
                reason = f"chat {index} is longer than the model's context: {characters} characters, where {limit} fit"
                raise RequestRefusedError(CONTENT_TOO_LARGE, reason, score=0.0)

    def _check_capacity(self, chats: int) -> None:
        if self._is_ending:
            raise RequestRefusedError(503, "the server is ending")
        if chats > self._limits.max_chats:
            problem = f"{chats} chats are more than the {self._limits.max_chats} that a request may have"
            raise RequestRefusedError(CONTENT_TOO_LARGE, f"{problem}: send several requests")
        if self._waiting + chats > self._limits.max_waiting:
            raise self._busy_error(f"{self._waiting} chats wait already, and {self._limits.max_waiting} may")

    def _check_memory(self, characters: int) -> None:
        """Refuse chats that would make the waiting ones too long; a single request is always accepted."""
        if self._waiting and self._waiting_characters + characters > MAX_WAITING_CHARACTERS:
            raise self._busy_error(
                f"{self._waiting_characters:,} characters wait already, and {MAX_WAITING_CHARACTERS:,} may"
            )

    def _busy_error(self, problem: str) -> RequestRefusedError:
        pause = min(MAX_RETRY_AFTER, max(1, math.ceil(self._last_duration)))
        return RequestRefusedError(503, f"{problem}: ask again in {pause} s", retry_after=pause)

    async def _cancel_on_disconnect(self, request: Request, chats: Sequence[Sequence[Message]]) -> LabelScores:
        """Return the model's scores; if the client disconnects or the server ends, cancel the work.

        Raises RequestRefusedError in these cases.
        """
        scoring = self._scorer.score_chats(chats, f"POST {request.url.path}", new=len(chats) > 1)
        work, disconnect = asyncio.create_task(scoring), asyncio.create_task(_wait_for_disconnect(request))
        self._running.add(work)
        try:
            await asyncio.wait({work, disconnect}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise RequestRefusedError(DISCONNECTED, "the client left")
            if work.cancelled():
                raise RequestRefusedError(503, "the server is ending")
            return work.result()
        finally:
            self._running.discard(work)
            disconnect.cancel()
            work.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    """Return once the client has disconnected; the request body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer_error(
    request: Request, status: int, reason: str, headers: Mapping[str, str] | None = None, score: float | None = None
) -> Response:
    """Return an error response in the format of the requested path, without keys of this machine."""
    reason = mask_text(reason)
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
    requested = f"{request.method} {request.url.path}"
    return _answer_error(request, error.status_code, f"{requested} is not served; {served} are", error.headers)


async def _answer_internal_error(request: Request, error: Exception) -> Response:
    """Return status 500; uvicorn logs the error with its traceback."""
    return _answer_error(request, 500, f"the server failed: {type(error).__name__}: {error}")
