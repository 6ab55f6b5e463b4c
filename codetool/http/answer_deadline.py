"""Limit on the time of a whole answer, which stands still while this process itself makes the answer wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

_current: ContextVar[asyncio.Timeout | None] = ContextVar("answer_deadline", default=None)


@asynccontextmanager
async def answer_deadline(seconds: float | None) -> AsyncIterator[None]:
    """Raise TimeoutError if the context takes longer; None for no limit."""
    async with asyncio.timeout(seconds) as deadline:
        token = _current.set(deadline)
        try:
            yield
        finally:
            _current.reset(token)


@contextmanager
def paused_deadline() -> Iterator[None]:
    """Context whose time does not count against the innermost `answer_deadline`."""
    deadline = _current.get()
    when = None if deadline is None or deadline.expired() else deadline.when()
    if deadline is None or when is None:
        yield
        return
    loop = asyncio.get_running_loop()
    started = loop.time()
    deadline.reschedule(None)
    try:
        yield
    finally:
        deadline.reschedule(when + loop.time() - started)
