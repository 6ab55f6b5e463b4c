"""The Prometheus metrics of a PRM server."""

from __future__ import annotations

import time
from collections.abc import Callable, Set

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CHATS = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
OTHER = "other"

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The content type of the text."""


class ServerMetrics:
    """The counters of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """`waiting` tells how many chats are accepted and not yet answered."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("codetool_prm_requests", "Requests answered", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "codetool_prm_request_seconds", "Time to an answer", ["path"], buckets=SECONDS, registry=registry
        )
        self._scores = Counter("codetool_prm_scores", "Chats scored", registry=registry)
        self._tokens = Counter(
            "codetool_prm_tokens_read", "Tokens the model read; known starts of chats are not", registry=registry
        )
        self._batch = Histogram("codetool_prm_request_chats", "Chats of a request", buckets=CHATS, registry=registry)
        self._pass = Histogram(
            "codetool_prm_pass_jobs", "Groups of siblings read in one pass", buckets=CHATS, registry=registry
        )
        self._pass_tokens = Histogram(
            "codetool_prm_pass_tokens", "Tokens read in one pass", buckets=TOKENS, registry=registry
        )
        queue = Gauge("codetool_prm_waiting_chats", "Chats accepted and not yet answered", registry=registry)
        queue.set_function(lambda: float(waiting()))

    def count_scores(self, chats: int, tokens: int) -> None:
        """Count a request's scores, and what was read for them."""
        self._batch.observe(chats)
        self._scores.inc(chats)
        self._tokens.inc(tokens)

    def count_pass(self, jobs: int, tokens: int) -> None:
        """Count a pass of the model; from any thread."""
        self._pass.observe(jobs)
        self._pass_tokens.observe(tokens)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def render(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """An ASGI app whose requests are counted."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, paths: Set[str]) -> None:
        """Requests for other paths than these are counted together: anybody can think of any number of them."""
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer and count how it did."""
        status, started = 500, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self._paths else OTHER
            self._metrics.count_request(path, status, time.perf_counter() - started)
