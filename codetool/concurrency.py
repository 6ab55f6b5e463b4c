"""Gather awaitables; when one fails, cancel the others and wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


async def gather_or_cancel(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results in order. The first failure cancels the others, waits for them and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_await(awaitable)) for awaitable in awaitables]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def gather_pair(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Return the results of two awaitables of different types, with the rules of `together`."""
    awaitables: list[Awaitable[Any]] = [first, second]
    results = await gather_or_cancel(awaitables)
    return results[0], results[1]


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable
