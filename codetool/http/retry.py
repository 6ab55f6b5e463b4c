"""Retry loop of all HTTP requests: exponential backoff with jitter, and the server's Retry-After.

Chat servers, PRM servers and live tools differ only in which failures are worth a retry: the `call` that they pass
raises RetryableError for those and another exception for the rest.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from codetool.http.fault_counts import report_fault, report_given_up

T = TypeVar("T")

MAX_RETRY_DELAY = 60.0
"""Maximum seconds between two attempts, also where a server asks for more."""
MAX_TOTAL_WAIT = 3600.0
"""Maximum seconds that one request waits between all its attempts, also if a 429 does not use up its retries."""
MAX_ATTEMPTS = 1000
"""Maximum number of attempts of one request, for waits of zero seconds."""
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


class RetryableError(Exception):
    """Failed attempt that is worth a retry. The message is for the user."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "other",
        retry_after: float = 0.0,
        counts: bool = True,
        last: bool = False,
    ) -> None:
        """Take the message, and how the attempt is counted.

        Args:
            message: what went wrong.
            kind: the name under which the fault is counted, such as `status_503` or `timeout`.
            retry_after: seconds that the server asks to wait, 0 if it does not.
            counts: False for an attempt that starts the count of fruitless attempts again: others are being answered.
            last: True if no further attempt is worth its cost.
        """
        super().__init__(message)
        self.kind, self.retry_after, self.counts, self.last = kind, retry_after, counts, last


class RateLimitedError(RetryableError):
    """The server answered 429."""


class RejectedResponseError(RetryableError):
    """The server's response was not accepted by the caller."""

    def __init__(self, answer: dict[str, Any], kind: str) -> None:
        super().__init__("an answer without what was asked for", kind=kind)
        self.response = answer


class RetriesExhaustedError(Exception):
    """All attempts failed; `reason` is the error of the last one, `seconds` the time since the first one began."""

    def __init__(self, attempts: int, seconds: float, reason: RetryableError) -> None:
        super().__init__(f"{attempts} attempts, the last one: {reason}")
        self.attempts, self.seconds, self.reason = attempts, seconds, reason

    @property
    def effort(self) -> str:
        """The attempts and their time as text, such as `5 attempts over 31 s`."""
        return f"{self.attempts} attempt{'' if self.attempts == 1 else 's'} over {self.seconds:.3g} s"


def draw_jitter(attempt: int) -> float:
    """Return a random factor in [0.5, 1.5], so that requests that failed together are not retried together."""
    return random.uniform(0.5, 1.5)


def never() -> bool:
    """Return False."""
    return False


@dataclass(frozen=True)
class RetryPolicy:
    """Number of retries of a request, and the seconds between them."""

    retries: int
    """Maximum number of fruitless retries."""
    backoff: float
    """Seconds before the first retry, doubled for each further one."""
    max_delay: float | None = None
    """Maximum seconds between two attempts; None takes `MAX_RETRY_DELAY`."""
    draw_factor: Callable[[int], float] = draw_jitter
    """Function that returns the factor on the delay after an attempt, numbered from 0."""
    service: str = "other"
    """Name under which faults are counted, such as `policy`."""
    is_pointless: Callable[[], bool] = never
    """Function that returns whether no further attempt is made, since another server is asked instead."""
    counts_given_up: bool = True
    """Whether a request whose attempts all failed is given up; False if another server may still answer it."""

    def compute_delay(self, attempt: int, retry_after: float = 0.0) -> float:
        """Return the seconds to wait after a failed attempt, numbered from 0."""
        backoff_delay = self.backoff * 2.0 ** min(attempt, 30) * self.draw_factor(attempt)
        return min(MAX_RETRY_DELAY if self.max_delay is None else self.max_delay, max(backoff_delay, retry_after))


async def call_with_retries(call: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """Call until no RetryableError is raised. Raises RetriesExhaustedError when the retries are used up.

    Every failed attempt is counted as a fault of `policy.service`. The attempts end after `MAX_ATTEMPTS`, and before
    the waits between them exceed `MAX_TOTAL_WAIT`.
    """
    attempts = fruitless = 0
    waited, started = 0.0, time.monotonic()
    while True:
        try:
            return await call()
        except RetryableError as error:
            attempts += 1
            fruitless = fruitless + 1 if error.counts else 0
            report_fault(policy.service, error.kind)
            delay = policy.compute_delay(attempts - 1, error.retry_after)
            waited += delay
            ends = error.last or fruitless > policy.retries or attempts >= MAX_ATTEMPTS or waited > MAX_TOTAL_WAIT
            if ends or policy.is_pointless():
                if policy.counts_given_up:
                    report_given_up(policy.service)
                raise RetriesExhaustedError(attempts, time.monotonic() - started, error) from error
            await asyncio.sleep(delay)


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a response asks to wait, 0 if it does not.

    Retry-After holds a number or a date (RFC 9110, 10.2.3); `retry-after-ms` is Azure's and OpenAI's finer form.
    """
    milliseconds, value = headers.get("retry-after-ms", "").strip(), headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    return float(value) if _NUMBER.fullmatch(value) else max(0.0, _count_seconds_until(value))


def _count_seconds_until(date: str) -> float:
    try:
        timestamp = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError):
        return 0.0
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return (timestamp - datetime.now(UTC)).total_seconds()
