"""How many requests may be in flight."""

import asyncio

from codetool.limiter import Limiter


async def test_it_halves_once_a_round_and_grows_back() -> None:
    limiter = Limiter(8)
    tickets = [await limiter.acquire() for _ in range(8)]
    for ticket in tickets:
        limiter.throttled(ticket)
        limiter.release()
    assert limiter.limit == 4
    for _ in range(100):
        limiter.succeeded()
    assert limiter.limit == 8


async def test_it_does_not_grow_after_a_failure() -> None:
    limiter = Limiter(8)
    limiter.throttled(await limiter.acquire())
    limiter.failed()
    limiter.succeeded()
    assert limiter.limit == 4
    limiter.succeeded()
    assert limiter.limit > 4


async def test_it_loses_no_place_when_a_waiter_leaves() -> None:
    limiter = Limiter(1)
    await limiter.acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    limiter.release()
    first.cancel()
    await asyncio.wait_for(second, 1)
