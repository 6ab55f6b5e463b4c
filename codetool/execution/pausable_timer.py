"""A timer with a limit that can be paused, for example while the host waits for a tool's answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

MAX_GAP = 1.0
"""Seconds by which a time-out may be late; beyond that the host itself was stopped (Ctrl-Z) or busy."""


class PausableTimer:
    """A timer that starts when it is created."""

    def __init__(self, limit: float) -> None:
        """`limit` in seconds."""
        self.limit = limit
        self._start = time.monotonic()
        self._pause = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start, without pauses."""
        return time.monotonic() - self._start - self._pause

    async def wait_within_limit(self, wait: Callable[[], Awaitable[None]]) -> bool:
        """Await `wait()`; True if it ended in time, False if the limit passed.

        If the host itself was stopped meanwhile, the timer restarts, because the time actually used is unknown.
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
        """Context in which time does not count."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._pause += time.monotonic() - start
