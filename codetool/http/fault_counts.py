"""Count the faults of services that a run met: their kinds, the requests given up, and the tokens of unused answers.

A fault is a failed attempt that was worth a retry. The client of each service reports its faults under the name of its
option group (`policy`, `prm`, `judge`, `answer`, `simulator`) or as `tools`. Reports outside `collect_faults` are lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import httpx

UNUSED_TOKENS = ("unused_tokens_in", "unused_tokens_out")
"""Names of the counts of tokens that a server generated or read for answers that could not be used."""


@dataclass
class FaultCounts:
    """Counts of one run, by service and then by name."""

    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    """Number of failed attempts of each kind, such as `status_429`, `timeout` or `invalid_json`."""
    amounts: dict[str, Counter[str]] = field(default_factory=dict)
    """`given_up` requests, whose retries were used up, and `UNUSED_TOKENS`, which no other count of tokens includes."""
    on_report: Callable[[Mapping[str, Any]], None] | None = None
    """Called with each report, in the form of `encode`, by one thread at a time."""
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def report(self, encoded: Mapping[str, Any]) -> None:
        """Add counts in the form of `encode`, and pass them on."""
        with self._lock:
            self.add(encoded)
            if self.on_report is not None:
                self.on_report(encoded)

    def encode(self) -> dict[str, Any]:
        """Return `{service: {"kinds": {kind: count}, "given_up": count, …}}`, sorted by name, without zeros."""
        services = sorted({*self.kinds, *self.amounts})
        return {
            service: {"kinds": dict(sorted(self.kinds.get(service, Counter()).items()))}
            | dict(sorted(self.amounts.get(service, Counter()).items()))
            for service in services
        }

    def add(self, encoded: Mapping[str, Any]) -> None:
        """Add counts in the form of `encode`."""
        for service, counts in encoded.items():
            self.kinds.setdefault(service, Counter()).update(counts["kinds"])
            amounts = {name: amount for name, amount in counts.items() if name != "kinds"}
            self.amounts.setdefault(service, Counter()).update(amounts)


_collected: ContextVar[FaultCounts | None] = ContextVar("collected_faults", default=None)


@contextmanager
def collect_faults(on_report: Callable[[Mapping[str, Any]], None] | None = None) -> Iterator[FaultCounts]:
    """Collect all faults reported while the context is open, also those of tasks and threads started in it.

    `on_report` is called with each of them, in the form of `FaultCounts.encode`.
    """
    counts = FaultCounts(on_report=on_report)
    token = _collected.set(counts)
    try:
        yield counts
    finally:
        _collected.reset(token)


def report_fault(service: str, kind: str) -> None:
    """Report one failed attempt."""
    if (counts := _collected.get()) is not None:
        counts.report({service: {"kinds": {kind: 1}}})


def report_all(counts: FaultCounts) -> None:
    """Report what was collected apart."""
    if (collected := _collected.get()) is not None and (encoded := counts.encode()):
        collected.report(encoded)


def report_given_up(service: str) -> None:
    """Report a request whose retries were used up."""
    _add_amount(service, "given_up", 1)


def report_unused_tokens(service: str, tokens_in: object, tokens_out: object) -> None:
    """Report the tokens of an answer that could not be used; what is no positive number is ignored."""
    for name, tokens in zip(UNUSED_TOKENS, (tokens_in, tokens_out), strict=True):
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0:
            _add_amount(service, name, tokens)


def _add_amount(service: str, name: str, amount: int) -> None:
    if (counts := _collected.get()) is not None:
        counts.report({service: {"kinds": {}, name: amount}})


def classify_transport_error(error: BaseException) -> str:
    """Return the kind of fault of an httpx error or a TimeoutError."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return "connect_timeout"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "timeout"
    if isinstance(error, httpx.ConnectError):
        return "connection_refused"
    if isinstance(error, httpx.RemoteProtocolError) and "complete" in str(error):
        return "truncated_body"  # "peer closed connection without sending complete message body"
    return "undecodable_body" if isinstance(error, httpx.DecodingError) else "connection_lost"


def classify_body(text: str) -> str:
    """Return the kind of fault of a body that is not the expected JSON."""
    start = text.lstrip()[:15].lower()
    if not start:
        return "empty_body"
    return "html" if start.startswith(("<!doctype", "<html", "<head", "<body")) else "invalid_json"
