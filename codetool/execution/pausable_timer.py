"""A time limit by the host's clock. It stands still while the host fetches an answer, or itself stood still."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

MAX_GAP = 1.0
"""Seconds that a time-out may come late before it is the host that stood still: Ctrl-Z, or a computation."""


class PausableTimer:
    """Counts down from its making."""

    def __init__(self, limit: float) -> None:
        """`limit` in seconds."""
        self.limit = limit
        self._start = time.monotonic()
        self._pause = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds that count so far."""
        return time.monotonic() - self._start - self._pause

    async def wait_within_limit(self, wait: Callable[[], Awaitable[None]]) -> bool:
        """Wait until the wait ends (True) or the time is over (False).

        Where the host stood still meanwhile, the time begins again: nobody can tell what of it was used.
        """
        while True:
            try:
                async with asyncio.timeout(max(0.0, self.limit - self.elapsed)):
                    await wait()
                    return True
            except TimeoutError:
                if self.elapsed - self.limit < MAX_GAP:
                    return False
                self._pause += self.elapsed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._pause += time.monotonic() - start
