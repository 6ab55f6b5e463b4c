"""Record what happens to a run's sandbox while the run goes on, so that a kill of the run does not lose it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from codetool.errors import WriteError

POLL_SECONDS = 0.5
"""Time between two looks at the executor's counts."""

RecordEvents = Callable[[Mapping[str, int]], None]
"""Called with how often what has happened to the sandbox. Raises WriteError."""


@asynccontextmanager
async def record_sandbox_events(executor: object, record: RecordEvents) -> AsyncIterator[None]:
    """Call `record` whenever the `counts` of an executor or engine, if it has any, have changed, and at the end."""
    watcher = asyncio.create_task(_record_changes(executor, record))
    try:
        yield
    except BaseException:
        with suppress(WriteError):  # the error that ends the run says more
            await _conclude(watcher, executor, record)
        raise
    await _conclude(watcher, executor, record)


async def _record_changes(executor: object, record: RecordEvents) -> None:
    recorded: Mapping[str, int] = {}
    while True:
        await asyncio.sleep(POLL_SECONDS)
        if (counts := _read_counts(executor)) != recorded:
            with suppress(WriteError):  # it is tried again at the end
                record(counts)
            recorded = counts


async def _conclude(watcher: asyncio.Task[None], executor: object, record: RecordEvents) -> None:
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
    if counts := _read_counts(executor):
        record(counts)


def _read_counts(executor: object) -> dict[str, int]:
    """Return a copy of the executor's counts; empty for an executor that counts nothing."""
    return dict(getattr(executor, "counts", {}))
