"""Adaptive limit on requests in flight: additive increase on success, multiplicative decrease on a 429 (AIMD).

A 5xx response pauses the increase. No clock is involved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

log = logging.getLogger(__name__)


class AdaptiveLimiter:
    """Limit on requests in flight: a 429 halves it, a 5xx stops its growth for a while, success increases it."""

    def __init__(self, max_limit: int) -> None:
        self.max_limit = max_limit
        self.limit = float(max_limit)
        self.running = 0
        self.success_count = 0
        """Number of successful responses so far, over all callers."""
        self._cut_count = 0
        self._growth_pause = 0
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
        """Report a 429: halve the limit, once for all requests that were sent before the last cut."""
        if cut_count == self._cut_count:
            self._cut_count += 1
            self.limit = max(1.0, self.limit / 2)
            log.info("server asks for fewer requests: %d in flight at most", int(self.limit))

    def failed(self) -> None:
        """Report a server error: the limit does not grow until as many responses came as requests are in flight."""
        self._growth_pause = max(1, self.running)

    def succeeded(self) -> None:
        """Report a success: the limit grows by one for every `limit` successes, up to `max_limit`."""
        self.success_count += 1
        if self._growth_pause:
            self._growth_pause -= 1
        else:
            self.limit = min(float(self.max_limit), self.limit + 1 / self.limit)
            self._admit_waiting()

    def _admit_waiting(self) -> None:
        """Give free slots to the longest waiting; a slot counts as taken at once."""
        while self._waiting and self.running < int(self.limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)
