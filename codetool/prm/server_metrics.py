"""The Prometheus metrics of a PRM server."""

from __future__ import annotations

import time
from collections.abc import Callable, Set

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, make_asgi_app
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bucket bounds of histograms of durations, in seconds."""
CHATS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bucket bounds of histograms of chats or jobs."""
TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""Bucket bounds of histograms of tokens."""
OTHER = "other"
"""Value of the label `path` for all unknown paths together."""


class ServerMetrics:
    """The Prometheus metrics of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Create the metrics; `waiting` returns the number of chats that are accepted and not yet answered."""
        registry = CollectorRegistry()
        self._app: ASGIApp = make_asgi_app(registry)
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
        """Count the scored chats of a request and the tokens computed for them."""
        self._batch.observe(chats)
        self._scores.inc(chats)
        self._tokens.inc(tokens)

    def count_pass(self, jobs: int, tokens: int) -> None:
        """Count a forward pass with its sibling groups and tokens; can be called from any thread."""
        self._pass.observe(jobs)
        self._pass_tokens.observe(tokens)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request and its duration in seconds."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with all metrics, in the text format and encoding that it asks for: an ASGI app."""
        await self._app(scope, receive, send)


class MetricsMiddleware:
    """ASGI middleware that counts the requests to an app."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, paths: Set[str]) -> None:
        """Wrap the app; requests to other paths than `paths` are counted together, to bound the number of labels."""
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, then count the request with its status and duration."""
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
