"""What happens to a sandbox is recorded while the run goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from codetool.errors import WriteError
from codetool.stages.evaluate import sandbox_events
from codetool.stages.evaluate.sandbox_events import record_sandbox_events


@pytest.fixture(autouse=True)
def poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_events, "POLL_SECONDS", 0.001)


async def wait_for(recorded: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(recorded) < count:
            await asyncio.sleep(0.001)


async def test_each_change_is_recorded_while_the_run_goes_on() -> None:
    executor: Any = SimpleNamespace(counts=Counter())
    recorded: list[Mapping[str, int]] = []
    async with record_sandbox_events(executor, recorded.append):
        executor.counts["restarts"] += 1
        await wait_for(recorded, 1)
        executor.counts["interrupted:memory"] += 1
        await wait_for(recorded, 2)
    assert recorded[:2] == [{"restarts": 1}, {"restarts": 1, "interrupted:memory": 1}]
    assert recorded[-1] == executor.counts


async def test_nothing_is_recorded_if_nothing_happens() -> None:
    recorded: list[Mapping[str, int]] = []
    for executor in (SimpleNamespace(counts={}), SimpleNamespace()):
        async with record_sandbox_events(executor, recorded.append):  # type: ignore[arg-type]
            await asyncio.sleep(0.01)
    assert recorded == []


async def test_a_full_disk_is_reported_at_the_end_and_not_instead_of_another_error() -> None:
    executor: Any = SimpleNamespace(counts={"restarts": 1})

    def fail(counts: Mapping[str, int]) -> None:
        raise WriteError("provenance.json cannot be written")

    with pytest.raises(WriteError):
        async with record_sandbox_events(executor, fail):
            await asyncio.sleep(0.01)
    with pytest.raises(KeyError):
        async with record_sandbox_events(executor, fail):
            raise KeyError("the error that ends the run")
