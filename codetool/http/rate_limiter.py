"""Adaptive limit on requests in flight: additive increase on success, multiplicative decrease on a 429 (AIMD).

A cut is in proportion to the recent share of 429s, as in DCTCP (RFC 8257): a server that turns most requests away is
asked for half as many, and single 429s among many successes change nothing. The limit does not grow while most
responses are errors. No clock is involved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

log = logging.getLogger(__name__)

MIN_THROTTLED_SHARE = 0.1
"""Share of 429s among the latest responses up to which the limit stays: each such request waits before its retry."""
MAX_FAILED_SHARE = 0.5
"""Maximum share of errors among the latest responses with which the limit grows."""


class AdaptiveLimiter:
    """Limit on requests in flight: 429s lower it by up to one half, errors stop its growth, success increases it."""

    def __init__(self, max_limit: int) -> None:
        self.max_limit = max_limit
        self.limit = float(max_limit)
        self.running = 0
        self.success_count = 0
        """Number of successful responses so far, over all callers."""
        self._cut_count = 0
        self._response_count = 0
        self._throttled_share = 0.0
        """Share of 429s among about as many latest responses as may be in flight."""
        self._failed_share = 0.0
        """Share of 429s and other errors among them."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> int:
        """Wait for a slot in order of arrival. Returns the number of cuts so far, the argument of `throttled`."""
        if self.running < int(self.limit) and not self._waiting:
            self.running += 1
            return self._cut_count
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the slot was given to a cancelled waiter
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
        return self._cut_count

    def release(self) -> None:
        """Return the slot."""
        self.running -= 1
        self._admit_waiting()

    def throttled(self, cut_count: int) -> None:
        """Report a 429: cut the limit, once for all requests that were sent before the last cut."""
        self._update_shares(throttled=True, failed=True)
        if cut_count == self._cut_count and self._throttled_share > MIN_THROTTLED_SHARE:
            self._cut_count += 1
            before = int(self.limit)
            self.limit = max(1.0, self.limit * (1 - self._throttled_share / 2))
            if int(self.limit) < before:
                log.info("server asks for fewer requests: %d in flight at most", int(self.limit))

    def failed(self) -> None:
        """Report a server error: while most responses are errors, the limit does not grow."""
        self._update_shares(throttled=False, failed=True)

    def succeeded(self) -> None:
        """Report a success: the limit grows by one for every `limit` successes, up to `max_limit`."""
        self.success_count += 1
        self._update_shares(throttled=False, failed=False)
        if self._failed_share <= MAX_FAILED_SHARE:
            self.limit = min(float(self.max_limit), self.limit + 1 / self.limit)
            self._admit_waiting()

    def _update_shares(self, *, throttled: bool, failed: bool) -> None:
        self._response_count += 1
        weight = 1 / min(self._response_count, max(1.0, self.limit))
        self._throttled_share += weight * (throttled - self._throttled_share)
        self._failed_share += weight * (failed - self._failed_share)

    def _admit_waiting(self) -> None:
        """Give free slots to the longest waiting; a slot counts as taken at once."""
        while self._waiting and self.running < int(self.limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)
