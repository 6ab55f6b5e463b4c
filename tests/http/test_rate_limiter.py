"""How many requests may be in flight."""

import asyncio

from codetool.http.rate_limiter import AdaptiveLimiter


async def test_it_halves_once_a_round_and_grows_back() -> None:
    limiter = AdaptiveLimiter(8)
    tickets = [await limiter.acquire() for _ in range(8)]
    for ticket in tickets:
        limiter.throttled(ticket)
        limiter.release()
    assert limiter.limit == 4
    for _ in range(100):
        limiter.succeeded()
    assert limiter.limit == 8


async def test_it_does_not_grow_after_a_failure() -> None:
    limiter = AdaptiveLimiter(8)
    limiter.throttled(await limiter.acquire())
    limiter.failed()
    limiter.succeeded()
    assert limiter.limit == 4
    limiter.succeeded()
    assert limiter.limit > 4


async def test_it_loses_no_place_when_a_waiter_leaves() -> None:
    limiter = AdaptiveLimiter(1)
    await limiter.acquire()
    first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    limiter.release()
    first.cancel()
    await asyncio.wait_for(second, 1)


async def test_places_are_given_in_the_order_of_arrival() -> None:
    limiter = AdaptiveLimiter(2)
    order: list[int] = []

    async def use(number: int) -> None:
        await limiter.acquire()
        order.append(number)
        await asyncio.sleep(0)
        limiter.release()

    for _ in range(2):
        await limiter.acquire()
    waiting = [asyncio.create_task(use(number)) for number in range(8)]
    await asyncio.sleep(0)
    limiter.release()
    limiter.release()  # in one go: the places of two waiters, who have not run yet
    late = asyncio.create_task(use(8))
    await asyncio.gather(*waiting, late)
    assert order == list(range(9))
    assert limiter.running == 0


async def test_no_newcomer_passes_those_who_wait() -> None:
    limiter = AdaptiveLimiter(1)
    await limiter.acquire()
    waiter = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.release()
    newcomer = asyncio.create_task(limiter.acquire())  # the place is the waiter's, though it has not run yet
    await asyncio.wait_for(waiter, 1)
    assert not newcomer.done()
    assert limiter.running == 1
    newcomer.cancel()
    await asyncio.gather(newcomer, return_exceptions=True)
    limiter.release()
    assert limiter.running == 0


async def test_growth_wakes_those_who_wait() -> None:
    limiter = AdaptiveLimiter(4)
    limiter.throttled(await limiter.acquire())
    limiter.throttled(1)
    waiter = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert not waiter.done()
    limiter.succeeded()
    await asyncio.wait_for(waiter, 1)


async def test_single_refusals_among_many_answers_leave_most_requests_in_flight() -> None:
    limiter = AdaptiveLimiter(64)
    for number in range(3000):
        ticket = await limiter.acquire()
        limiter.release()
        if number % 5 == 0:
            limiter.throttled(ticket) if number % 30 == 0 else limiter.failed()
        else:
            limiter.succeeded()
    assert limiter.limit > 40


async def test_a_server_that_takes_few_requests_gets_few() -> None:
    limiter = AdaptiveLimiter(256)
    for _ in range(20):
        tickets = [await limiter.acquire() for _ in range(int(limiter.limit))]
        for place, ticket in enumerate(tickets):
            limiter.release()
            limiter.succeeded() if place < 10 else limiter.throttled(ticket)
    assert limiter.limit < 16
