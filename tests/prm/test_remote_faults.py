"""The remote PRM behind a proxy that spoils answers: the scores and token counts of every fault-free run."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from composing import compose_config
from fault_proxy import ANY_KINDS, Exchange, FaultProxy, run_proxies
from no_servers import NO_SERVERS

from codetool.errors import UnreachableError
from codetool.http.fault_counts import FaultCounts, collect_faults
from codetool.model_types import Scores
from codetool.types import Step, Task

TASK = Task(id="t", query="Who?", tools=())
STEPS = [Step(f"##Step 1: way {i}", f"print({i})", False) for i in range(2)]
COUNTED = {
    "reset": "connection_lost", "truncated": "truncated_body", "empty": "empty_body", "slow_drip": "slow_body",
    "status_429_retry_after": "status_429",
}  # fmt: skip


async def answer(exchange: Exchange) -> tuple[int, str, bytes]:
    if exchange.target == "/health":
        content: object = {"max_chats": 8, "model": "m"}
    elif exchange.target == "/score":
        content = {"scores": [0.25, 0.75], "tokens": 7, "tokens_asked": 9}
    else:
        content = {"response": 0.5}
    return 200, "application/json", json.dumps(content).encode()


@contextmanager
def spoiled(path: str, *faults: str) -> Iterator[FaultProxy]:
    """A proxy at which requests to a path meet these faults, one after the other."""
    left, proxy = iter(faults), FaultProxy(answer, rate=0.0)
    proxy.is_broken = lambda exchange: next(left, None) if exchange.target == path else None
    with run_proxies(proxy):
        yield proxy


async def score(proxy: FaultProxy, timeout: float = 1.0) -> tuple[Scores, FaultCounts]:
    words = (
        f"prm.base_url={proxy.url}",
        "prm.backoff=0.01",
        f"prm.timeout={timeout}",
        f"prm.connect_timeout={timeout}",
    )
    config, _ = compose_config("prm=remote", "prm.model=m", *words)
    with collect_faults() as counts:
        async with config.prm.open(NO_SERVERS) as prm:
            assert prm is not None
            return await prm.score(TASK, [], STEPS), counts


@pytest.mark.parametrize("path", ["/health", "/score"])
@pytest.mark.parametrize("kind", ANY_KINDS)
async def test_three_faults_in_a_row_change_nothing_and_are_counted(path: str, kind: str) -> None:
    with spoiled(path, kind, kind, kind) as proxy:
        scores, counts = await score(proxy, 0.15 if kind in {"timeout", "slow_drip"} else 2.0)
    assert scores == Scores((0.25, 0.75), 9, 7)
    assert counts.encode() == {"prm": {"kinds": {COUNTED.get(kind, kind): 3}}}


@pytest.mark.parametrize("kind", ["status_503", "reset"])
async def test_a_server_that_is_down_behind_its_gateway_is_not_taken_for_another_kind(kind: str) -> None:
    with spoiled("/health", *[kind] * 9) as proxy, pytest.raises(UnreachableError, match=r"4 attempts over .* s"):
        await score(proxy)
    assert proxy.requests == 4


async def test_a_server_of_another_kind_with_a_page_at_health_is_one() -> None:
    with spoiled("/health", *["html"] * 9) as proxy:
        scores, _ = await score(proxy)
    assert scores.values == (0.5, 0.5)


async def test_a_broken_compression_is_retried() -> None:
    broken = iter([True, True, False])

    async def compress(exchange: Exchange) -> tuple[int, str, bytes]:
        status, kind, content = await answer(exchange)
        if exchange.target == "/score" and next(broken):
            return status, f"{kind}\r\nContent-Encoding: gzip", gzip.compress(content)[:12] + b"garbage garbage"
        return status, kind, content

    proxy = FaultProxy(compress, rate=0.0)
    with run_proxies(proxy):
        scores, counts = await score(proxy)
    assert scores.values == (0.25, 0.75) and counts.kinds["prm"] == {"undecodable_body": 2}
