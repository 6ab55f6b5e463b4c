"""How many requests may be in flight at once, learnt from what the server answers.

Multiplicative decrease on a 429, additive increase on success, no growth after a 5xx; no clock is involved.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

log = logging.getLogger(__name__)


class Limiter:
    """A bound on requests in flight: a 429 halves it, a 5xx stops its growth for a while, success grows it back."""

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.limit = float(highest)
        self.running = 0
        self.answered = 0
        """Good answers so far, to whomever."""
        self._cuts = 0
        self._frozen = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> int:
        """Wait for a place in order of arrival. Returns the number of cuts so far, to be handed to `throttled`."""
        if self.running < int(self.limit) and not self._waiting:
            self.running += 1
            return self._cuts
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # the place was given to a waiter that left
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
        return self._cuts

    def release(self) -> None:
        """Give the place back."""
        self.running -= 1
        self._wake()

    def throttled(self, ticket: int) -> None:
        """A 429 came: halve the limit, once for all requests that were sent before the last cut."""
        if ticket == self._cuts:
            self._cuts += 1
            self.limit = max(1.0, self.limit / 2)
            log.info("server asks for fewer requests: %d in flight at most", int(self.limit))

    def failed(self) -> None:
        """The server is in trouble: no growth until as many answers came as are in flight."""
        self._frozen = max(1, self.running)

    def succeeded(self) -> None:
        """An answer came: one more request in flight a round, up to the highest."""
        self.answered += 1
        if self._frozen:
            self._frozen -= 1
        else:
            self.limit = min(float(self.highest), self.limit + 1 / self.limit)
            self._wake()

    def _wake(self) -> None:
        """Hand free places to those who have waited longest; a place is taken from the moment it is handed over."""
        while self._waiting and self.running < int(self.limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)
