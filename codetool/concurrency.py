"""Concurrency primitives: gather awaitables, keep watchers running, call in threads, limit large values in memory."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
"""Pause before a watcher that failed is started again."""

_M_MMAP_THRESHOLD = -3
"""The option of mallopt(3): size from which a block is mapped by itself."""

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

_call_locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
LARGE_BYTES = 250_000
"""Size from which a value counts as large: the body of an answer, for example."""
MAX_LARGE_VALUES = 2
"""Maximum number of large values that are in memory at the same time; each is copied several times in its use."""


async def gather_or_cancel(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results in order. The first failure cancels the others, waits for them and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_await(awaitable)) for awaitable in awaitables]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def gather_pair(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Return the results of two awaitables of different types, with the rules of `gather_or_cancel`."""
    awaitables: list[Awaitable[Any]] = [first, second]
    results = await gather_or_cancel(awaitables)
    return results[0], results[1]


async def keep_running(name: str, watch: Callable[[], Awaitable[object]]) -> NoReturn:
    """Run a watcher until the caller is cancelled, and start it again whenever it fails or ends.

    Each type of failure is logged once, in one line that begins with `name`.
    """
    logged = set[str]()
    while True:
        try:
            await watch()
            kind, reason = "end", "it ended"
        except Exception as error:
            kind, reason = type(error).__name__, f"{type(error).__name__}: {' '.join(str(error).split())}"
        if kind not in logged:
            logged.add(kind)
            log.warning("%s failed and is started again: %s", name, reason)
        await asyncio.sleep(RESTART_SECONDS)


async def call_in_thread(function: Callable[[], T], seconds: float) -> T:
    """Call a function in a thread of its own and return its result; calls of an event loop run one after the other.

    Raises what the function raises, and TimeoutError if it takes longer than `seconds`. A thread cannot be ended: it is
    left behind then, and the next call begins.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function)
        except BaseException as error:
            settle, outcome = future.set_exception, error
        else:
            settle, outcome = future.set_result, result  # type: ignore[assignment]
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(lambda: future.done() or settle(outcome))

    async with _call_locks.setdefault(loop, asyncio.Lock()), asyncio.timeout(seconds):
        threading.Thread(target=work, daemon=True, name="codetool-call").start()
        return await future


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _LargeDataScope:
    """Whether the work of a scope has been admitted, so that it is admitted once."""

    def __init__(self) -> None:
        self.slots: asyncio.Semaphore | None = None
        self.has_ended = False
        self.lock = asyncio.Lock()

    def end(self) -> None:
        self.has_ended = True
        if self.slots is not None:
            self.slots.release()
            self.slots = None


_current_scope: ContextVar[_LargeDataScope | None] = ContextVar("large_data_scope", default=None)
_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _return_large_blocks() -> None:
    """Have glibc return every freed block of LARGE_BYTES or more to the system at once.

    By default, after it freed one such block, it takes those up to 32 MiB from the heap, where a small block above a
    freed one keeps its memory from being returned.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


@asynccontextmanager
async def large_data_scope() -> AsyncIterator[None]:
    """The work that may hold one large value, from reading it to its last use; a scope inside another one joins it."""
    outer = _current_scope.get()
    if outer is not None and not outer.has_ended:
        yield
        return
    scope = _LargeDataScope()
    token = _current_scope.set(scope)
    try:
        yield
    finally:
        _current_scope.reset(token)
        scope.end()


async def admit_large_data() -> None:
    """Wait until this scope may hold a large value; call it before more than `LARGE_BYTES` are read or copied.

    At most `MAX_LARGE_VALUES` scopes of an event loop are admitted at the same time. It returns at once outside of a
    scope, and in work that outlives its scope.
    """
    scope = _current_scope.get()
    if scope is None:
        return
    async with scope.lock:
        if scope.slots is not None or scope.has_ended:
            return
        loop = asyncio.get_running_loop()
        if loop not in _slots_by_loop:
            _slots_by_loop[loop] = asyncio.Semaphore(MAX_LARGE_VALUES)
            _return_large_blocks()
        slots = _slots_by_loop[loop]
        await slots.acquire()
        if scope.has_ended:
            slots.release()
        else:
            scope.slots = slots
