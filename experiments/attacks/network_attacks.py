"""Attacks by servers, by the network, by clients of our servers, and by steps that send much."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import httpx
import psutil
from checkouts import Outcome, Target, read_memory, reset_peak
from stand_ins import TASK, WebService, make_task, policy_words, save_tiny_model, serve_policy

from codetool.types import Execution, HttpRequest, Step, ToolAnswer

FAULTS = ("status_429", "status_500", "reset", "truncated", "invalid_json", "html", "empty")
BAD_ANSWERS = ("invalid_json", "html", "empty", "error_object")
LONG_CALLS = """
import requests
for i in range(100): requests.get("https://evil.example/" + "a" * 220_000)
"""


@contextmanager
def faulty_proxy(answer: bytes, kinds: tuple[str, ...], rate: float = 0.2) -> Iterator[Any]:
    """Serve one answer to all requests behind a proxy that spoils a share of the attempts."""
    from fault_proxy import FaultProxy, run_proxies

    async def upstream(exchange: Any) -> tuple[int, str, bytes]:
        return 200, "application/json", answer

    proxy = FaultProxy(upstream, rate=rate, kinds=kinds)
    with run_proxies(proxy):
        yield proxy


async def send_long_urls(target: Target) -> Outcome:
    """A3: a step calls 100 URLs of 220,000 characters (ten times fewer than in the first report)."""
    from codetool.types import Task

    config = target.compose("executor.timeout=60", "tools.max_calls=20")
    task = Task("t", "query", config.benchmark.tasks()[0].tools)
    async with config.executor.open() as sandbox, config.tools.open([task]) as broker:
        before = reset_peak()
        execution: Execution = await (await sandbox.start(task, broker.session(task).call)).run(LONG_CALLS)
        added = read_memory() - before
        kept = sum(len(answer.call.url) + len(answer.body) for answer in execution.calls) / 1e6
    ended = f"{execution.status}, {len(execution.calls)} calls with {kept:.1f} MB kept, {added:.0f} MiB more memory"
    return Outcome(ended, kept < 1 and added < 200)


async def fail_tools(target: Target) -> Outcome:
    """A6: 20 % of the answers of a live tool are spoiled; 100 calls must get the service's own answers."""
    with faulty_proxy(b'{"id": 1, "title": "A"}', FAULTS) as proxy:
        task = make_task(proxy.url)
        words = ["tools.mode=live", "tools.backoff=0.01", "tools.timeout=2", "tools.replica=null"]
        config = target.compose(*words)
        wrong, unreachable = 0, 0
        async with config.tools.open([task]) as broker:
            call = broker.session(task).call
            requests = [HttpRequest("GET", f"{proxy.url}/3/movie/{n}") for n in range(100)]
            for answer in await asyncio.gather(*map(call, requests), return_exceptions=True):
                unreachable += not isinstance(answer, ToolAnswer) or answer.status != 200
                wrong += isinstance(answer, ToolAnswer) and answer.status == 200 and "title" not in answer.body
        faults = proxy.injected.total()
    return Outcome(
        f"{faults} faults: {unreachable} of 100 calls unreachable, {wrong} answered wrongly", not wrong | unreachable
    )


async def score_a_long_chat(target: Target) -> Outcome:
    """A7: a client posts a chat of 30 MB to a PRM server; another one waits meanwhile."""
    model = await asyncio.to_thread(save_tiny_model, target.folder / "model")
    words = ["stage=serve_prm", "prm=qwen7b", f"prm.path={model}", "prm.device=cpu", "serve_prm.port=0"]
    limit = ["serve_prm.max_bytes=50000000"]
    process = target.start(*words, *limit)
    try:
        assert process.stdout is not None
        url = (await asyncio.to_thread(process.stdout.readline)).split()[0]
        peaks = asyncio.ensure_future(_watch_memory(process.pid))
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=200) as client:
            started = time.monotonic()
            short = {"index": 0, "messages": [{"role": "user", "content": "x"}]}
            long = {"index": 0, "messages": [{"role": "user", "content": "word " * 6_000_000}]}
            posted = asyncio.ensure_future(client.post("/score", json={"messages": [long["messages"]]}))
            await asyncio.sleep(0.5)
            await client.post("/generate", json=short)
            waited = time.monotonic() - started - 0.5
            status = (await posted).status_code
            seconds = time.monotonic() - started
        peaks.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    peak = read_peak[0] - read_peak[1]
    happened = f"HTTP {status} after {seconds:.1f} s, {peak:.0f} MiB more memory, another request waits {waited:.1f} s"
    return Outcome(happened, status == 413 and seconds < 5 and peak < 400)


read_peak = [0.0, 0.0]
"""Peak and first memory of the server in MiB."""


async def _watch_memory(pid: int) -> None:
    """Watch the memory of a process and of its children."""
    process = psutil.Process(pid)
    while True:
        with contextlib.suppress(psutil.Error):
            now = process.memory_info().rss / 2**20
            read_peak[1] = read_peak[1] or now
            read_peak[0] = max(read_peak[0], now)
        await asyncio.sleep(0.05)


async def spoil_scores(target: Target) -> Outcome:
    """A9: 20 % of the answers of a PRM server have status 200 and are no scores; all 60 steps must be scored."""
    with faulty_proxy(b'{"response": 0.5}', BAD_ANSWERS) as proxy:
        pause = "prm.pause=0.01" if target.is_old else "prm.backoff=0.01"
        config = target.compose("prm=remote", "prm.model=m", f"prm.base_url={proxy.url}", pause)
        proxy.rate = 0.0
        async with config.prm.open(None) as live:
            proxy.rate = 0.2
            steps = [Step(f"##Step 1: way {k}", f"print({k})", finished=False) for k in range(60)]
            scores = [live.score(TASK, [], [step]) for step in steps]
            failed = [
                each for each in await asyncio.gather(*scores, return_exceptions=True) if isinstance(each, Exception)
            ]
    reason = f" ({type(failed[0]).__name__})" if failed else ""
    return Outcome(f"{proxy.injected.total()} faults: {len(failed)} of 60 steps not scored{reason}", not failed)


PATHS = (
    ("GET", "/3/movie/1"), ("GET", "/3/../../admin"), ("GET", "/3/%2e%2e/admin"), ("TRACE", "/3/movie/1"),
    ("DELETE", "/3/movie/1"), ("GET", "/3//movie/1/../../x"), ("DELETE", "/3/account/1"),
)  # fmt: skip
"""Requests of a step; only the first one is documented."""
HTML = b"<!DOCTYPE html><html><body>Log in to the network</body></html>"


async def answer_html(target: Target) -> Outcome:
    """A16: a service answers HTML with status 200, and a step asks for what no document knows, with our key."""
    os.environ["FILM_ACCESS"] = "cAnary-key-of-films"
    with WebService(HTML, "text/html") as service:
        task, record = make_task(service.url), target.folder / "recorded.jsonl"
        key = f"+tools.secrets.films={{host: '{service.host}', env: FILM_ACCESS}}"
        words = ["tools.mode=live", "tools.replica=null", f"tools.record_to={record}", "tools.backoff=0.01"]
        config = target.compose(*words, *([] if target.is_old else [key]))
        tools = config.tools
        if target.is_old:
            tools = replace(tools, secrets={service.host: replace(*tools.secrets.values(), env="FILM_ACCESS")})
        async with tools.open([task]) as broker:
            call = broker.session(task).call
            requests = [HttpRequest(method, service.url + path) for method, path in PATHS]
            await asyncio.gather(*map(call, requests), return_exceptions=True)
    recorded = len(record.read_text().splitlines()) if record.exists() else 0
    keyed = sorted({each.rsplit(" ", 1)[0].rsplit(" ", 1)[0] for each in service.asked if "cAnary" in each})
    undocumented = [each for each in keyed if each != "GET /3/movie/1"]
    happened = (
        f"{recorded} answers of HTML recorded; sent with the key beyond the document: {undocumented or 'nothing'}"
    )
    return Outcome(happened, not recorded and not undocumented)


def leave_out_a_choice(target: Target) -> Outcome:
    """A20: one answer of the policy has a choice less than asked for."""

    def spoil(number: int, reply: Any) -> Any:
        if number != 1:
            return reply
        return type(reply)(body=MappingProxyType(reply.body) | {"choices": reply.body["choices"][:-1]})

    counts: list[list[int]] = []
    for change in (lambda number, reply: reply, spoil):
        with serve_policy(change) as server:
            words = policy_words(server, "search=greedy", "search.n=4", "search.depth=1", "limit=10")
            done = target.run(*words, outputs=target.folder / f"outputs{len(counts)}")
            if done.code:
                return Outcome(done.last_line, False)
            counts.append([int(body.get("n") or 1) for body in server.requests])
    clean, spoiled = counts
    happened = f"{len(clean)} requests without the fault, {len(spoiled)} with it"
    return Outcome(f"{happened}; choices asked for: {sum(clean)} and {sum(spoiled)}", len(spoiled) <= len(clean) + 2)


NETWORK_ATTACKS = {
    "A3": send_long_urls,
    "A6": fail_tools,
    "A7": score_a_long_chat,
    "A9": spoil_scores,
    "A16": answer_html,
    "A20": leave_out_a_choice,
}
