"""The loop that repeats requests, and how long it waits."""

import time
from email.utils import formatdate

import pytest

from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries, parse_retry_after

NOW = RetryPolicy(retries=2, backoff=0.0)


async def test_it_returns_the_first_result() -> None:
    calls = 0

    async def call() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise RetryableError("busy")
        return calls

    assert await call_with_retries(call, NOW) == 3


async def test_it_gives_up_with_the_last_reason() -> None:
    async def call() -> int:
        raise RetryableError("busy")

    with pytest.raises(RetriesExhaustedError, match="3 attempts, the last one: busy"):
        await call_with_retries(call, NOW)


async def test_an_attempt_that_is_the_last_ends_it_and_one_that_does_not_count_does_not() -> None:
    reasons = [RetryableError("crowd", counts=False)] * 5 + [RetryableError("dead", last=True)]
    left = iter(reasons)

    async def call() -> int:
        raise next(left)

    with pytest.raises(RetriesExhaustedError, match="6 attempts, the last one: dead"):
        await call_with_retries(call, NOW)


def test_the_wait_doubles_and_is_bounded() -> None:
    policy = RetryPolicy(retries=9, backoff=1.0, max_delay=10.0, draw_factor=lambda attempt: 1.0)
    assert [policy.compute_delay(attempt) for attempt in (0, 1, 2, 3, 4, 99)] == [1, 2, 4, 8, 10, 10]
    assert policy.compute_delay(0, retry_after=5.0) == 5.0
    assert policy.compute_delay(0, retry_after=500.0) == 10.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3), ({"retry-after": "0.4"}, 0.4), ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({}, 0), ({"retry-after": "soon"}, 0), ({"retry-after": "-1"}, 0), ({"retry-after": "1e9"}, 0),
        ({"retry-after": "³"}, 0), ({"retry-after": "nan"}, 0), ({"retry-after": formatdate(0, usegmt=True)}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37"}, 0), ({"retry-after": "Sun, 99 Nov"}, 0),
    ],
)  # fmt: skip
def test_what_a_server_asks_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert parse_retry_after(headers) == seconds


def test_a_date_is_a_wait_until_then() -> None:
    assert 8 < parse_retry_after({"retry-after": formatdate(time.time() + 10, usegmt=True)}) <= 10
