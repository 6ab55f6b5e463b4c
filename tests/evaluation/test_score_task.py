"""Scoring runs beside the event loop, in bounded time; hostile answers neither break nor delay it."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from codetool.benchmarks.answer_checker.checker import matches
from codetool.concurrency import call_in_thread
from codetool.errors import CheckTimeoutError
from codetool.evaluation.score_task import record_failure, score_task_in_thread
from codetool.ledger import Ledger
from codetool.types import Answer, Node, SearchResult, Step, Task

TASK = Task("t", "query", (), answer=Answer("number", 1))
RESULT = SearchResult(Node("1", Node("0"), 1, Step("1", None, True)), (), Ledger())


@dataclass
class SlowBenchmark:
    """Its check takes `seconds`, and counts how many run at the same time."""

    seconds: float
    running: int = 0
    most_running: int = 0
    calls: int = 0

    def check(self, task: Task, answer: str | None) -> bool:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        time.sleep(self.seconds)
        self.running -= 1
        return True


def score(benchmark: Any, limit: float = 5.0) -> Any:
    return score_task_in_thread(TASK, RESULT, benchmark, 1.0, limit)


async def test_a_slow_check_does_not_stop_the_event_loop() -> None:
    benchmark, ticks = SlowBenchmark(0.1), 0
    scoring = asyncio.gather(*(score(benchmark) for _ in range(3)))
    while not scoring.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert all(record.result["success"] for record in await scoring)
    assert ticks > 20 and benchmark.most_running == 1


async def test_a_check_that_hangs_is_an_error_of_its_task_alone() -> None:
    benchmark = SlowBenchmark(0.5)
    with pytest.raises(CheckTimeoutError, match=r"check of SlowBenchmark did not answer within 0\.05 s") as caught:
        await score(benchmark, limit=0.05)
    assert (await score(SlowBenchmark(0.0))).result["success"] is True
    record = record_failure(TASK, caught.value, Ledger(), benchmark, 1.0)
    assert (record.result["success"], record.result["error"]["kind"], benchmark.calls) == (False, "internal", 1)


async def test_what_a_check_raises_arrives_even_an_exit() -> None:
    class Exiting:
        def check(self, task: Task, answer: str | None) -> bool:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        await score(Exiting())


async def test_a_cancelled_call_lets_the_next_one_begin() -> None:
    release = threading.Event()
    first = asyncio.create_task(call_in_thread(lambda: release.wait(5), 10))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await asyncio.wait_for(call_in_thread(lambda: 7, 1), 1) == 7
    release.set()


TYPES: list[tuple[Any, Any]] = [
    ("name", "Ada"), ("title", "It"), ("number", 148), ("number", 8.516), ("date", "2008-07-16"), ("yes_no", True),
    ("url", "/a.jpg"), ("list", ["Ada", "It"]), ("list", [1, 2, 3]), ("list", ["2001-01-01", "1999-01-01"]),
    ("ordered_list", ["Ada", "Bo"]), ("some_of", ["Drama", "War"]),
]  # fmt: skip
HOSTILE = [
    "9" * 5000, "[" + "9" * 5000 + "]", "1e999999999", "[1e999999999]", "9" * 400 + ".5", "-1e400", "NaN", "[Infinity]",
    "{{}}", "{[]: 1}", "{[1]}", "[" * 100_000, "{'a':" * 100_000, "(" * 1500 + "1" + ")" * 300, "-" * 1999 + "1",
    "1 " * 1000, "1, " * 1_000_000, "[" + "1," * 1_000_000 + "1]", "a b " * 500, "²" * 1000, "٣" * 1000, "\ud800" * 10,
    "9" * 310 + " billion", "2h " * 600, "9999-12-31 " * 180, "title: " * 300, "Dramas, " * 280, "x" * 10_000_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_answer_takes_long_to_check(text: str) -> None:
    start = time.process_time()
    for kind, value in TYPES:
        assert matches(Answer(kind, value), text, "How many seasons does it have?") is False
    assert time.process_time() - start < 1
