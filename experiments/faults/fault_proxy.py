"""HTTP proxy that stands before any server and spoils some of its answers, to test clients against a bad network.

Which attempts of a request fail, and how, is drawn from the seed and the content of the request alone, so timing
changes nothing. A request is identified by its method, path and body. At most `most` attempts of it fail, one after the
other; all further ones are answered properly.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

ANY_KINDS = (
    "status_429", "status_429_retry_after", "status_500", "status_502", "status_503", "reset", "timeout", "truncated",
    "invalid_json", "html", "empty", "slow_drip", "error_object",
)  # fmt: skip
"""Faults that any request may meet."""
CHOICE_KINDS = ("missing_choices", "surplus_choices")
"""Faults of chat answers with several choices."""
DRIP_SECONDS = 0.1
"""Seconds between two bytes of a slow answer."""
HTML = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
ERROR = {"error": {"message": "The upstream server is overloaded, please try again", "type": "overloaded_error"}}


@dataclass(frozen=True)
class Exchange:
    """One request and the proper answer to it."""

    method: str
    target: str
    """Path with query."""
    headers: dict[str, str]
    body: bytes
    status: int = 200
    content_type: str = "application/json"
    answer: bytes = b""

    @property
    def key(self) -> str:
        """Hash of what identifies the request."""
        return sha256(f"{self.method} {self.target}\n".encode() + self.body).hexdigest()

    @property
    def wants_choices(self) -> bool:
        """Whether it is a chat request for several choices."""
        return self.target.endswith("/chat/completions") and int(json.loads(self.body).get("n") or 1) > 1


Upstream = Callable[[Exchange], Awaitable[tuple[int, str, bytes]]]
"""Returns the status, content type and body of the proper answer to a request."""


def forward_to(url: str) -> Upstream:
    """Return an upstream that asks the server at a URL."""
    client = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)

    async def ask(exchange: Exchange) -> tuple[int, str, bytes]:
        kept = {name: value for name, value in exchange.headers.items() if name not in {"host", "content-length"}}
        response = await client.request(exchange.method, exchange.target, content=exchange.body, headers=kept)
        return response.status_code, response.headers.get("content-type", ""), response.content

    return ask


@dataclass
class FaultProxy:
    """The proxy and what it did. `rate`, `kinds` and `is_broken` may be changed while it runs."""

    upstream: Upstream
    seed: int = 0
    rate: float = 0.2
    """Probability that an attempt fails, 0 to 1."""
    kinds: tuple[str, ...] = (*ANY_KINDS, *CHOICE_KINDS)
    most: int = 3
    """Maximum number of failing attempts of one request."""
    is_broken: Callable[[Exchange], str | None] = lambda exchange: None
    """Returns the fault that a request always meets, None if it is not broken for good."""
    injected: Counter[str] = field(default_factory=Counter)
    """Number of faults so far, by kind."""
    requests: int = 0
    """Number of requests so far."""
    url: str = ""
    _attempts: Counter[str] = field(default_factory=Counter)

    def reset(self, rate: float) -> None:
        """Forget all requests, and go on with another rate."""
        self.rate, self.requests = rate, 0
        self.injected, self._attempts = Counter(), Counter()

    def draw_faults(self, exchange: Exchange) -> list[str]:
        """Return the faults of the first attempts of a request."""
        draw = random.Random(f"{self.seed} {exchange.key}")
        kinds = [kind for kind in self.kinds if kind not in CHOICE_KINDS or exchange.wants_choices]
        faults: list[str] = []
        while kinds and len(faults) < self.most and draw.random() < self.rate:
            faults.append(draw.choice(kinds))
        return faults

    def next_fault(self, exchange: Exchange) -> str | None:
        """Return the fault of this attempt, None if it is answered properly."""
        self.requests += 1
        fault = self.is_broken(exchange)
        if fault is None:
            faults, attempt = self.draw_faults(exchange), self._attempts[exchange.key]
            self._attempts[exchange.key] += 1
            fault = faults[attempt] if attempt < len(faults) else None
        if fault is not None:
            self.injected[fault] += 1
        return fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (exchange := await _read_request(reader)) is not None:
                fault = self.next_fault(exchange)
                if fault in {"reset", "timeout"} or (fault or "").startswith("status_"):
                    kept = await _fail_without_answer(fault or "", reader, writer)
                else:
                    status, content_type, answer = await self.upstream(exchange)
                    kept = await _spoil(fault, status, content_type, answer, writer)
                if not kept:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Exchange | None:
    """Read a request; None at the end of the connection."""
    if not (line := await reader.readline()):
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while header := (await reader.readline()).decode("latin-1").strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(method, target, headers, body)


async def _fail_without_answer(fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send an error status, reset the connection or stay silent. Returns whether the connection can be used again."""
    if fault == "reset":
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if fault == "timeout":
        await reader.read()  # until the client goes away
        return False
    extra = "Retry-After: 0.2\r\n" if fault.endswith("retry_after") else ""
    writer.write(_make_head(int(fault.split("_")[1]), "application/json", 2, extra) + b"{}")
    await writer.drain()
    return True


async def _spoil(fault: str | None, status: int, kind: str, answer: bytes, writer: asyncio.StreamWriter) -> bool:
    """Send the answer, or what a fault leaves of it. Returns whether the connection can be used again."""
    if fault == "slow_drip":
        writer.write(_make_head(status, kind, len(answer)))
        for place in range(len(answer)):
            writer.write(answer[place : place + 1])
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
        return True
    if fault == "truncated":
        writer.write(_make_head(status, kind, len(answer)) + answer[: len(answer) // 2])
        await writer.drain()
        return False
    body = _spoil_body(fault, answer)
    writer.write(
        _make_head(status if fault is None else 200, "text/html" if fault == "html" else kind, len(body)) + body
    )
    await writer.drain()
    return True


def _spoil_body(fault: str | None, answer: bytes) -> bytes:
    """Return what a fault makes of the body of an answer."""
    if fault == "invalid_json":
        return answer[: max(1, len(answer) // 2)]
    if fault in CHOICE_KINDS:
        return _change_choices(answer, -1 if fault == "missing_choices" else 1)
    return {"html": HTML, "empty": b"", "error_object": json.dumps(ERROR).encode()}.get(fault or "", answer)


def _change_choices(answer: bytes, change: int) -> bytes:
    """Remove the last choice of a chat answer, or repeat it, with the tokens that it has."""
    content: dict[str, Any] = json.loads(answer)
    choices = content["choices"]
    each = content["usage"]["completion_tokens"] // len(choices)
    content["choices"] = choices[:-1] if change < 0 else [*choices, choices[-1] | {"index": len(choices)}]
    content["usage"] |= {"completion_tokens": each * len(content["choices"])}
    return json.dumps(content).encode()


def _make_head(status: int, content_type: str, length: int, extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}\r\n"
    return head.encode("latin-1")


@contextmanager
def run_proxies(*proxies: FaultProxy) -> Iterator[None]:
    """Serve each proxy on a free port of this machine, in a thread, and set its `url`, while the context is open."""
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        tasks: set[asyncio.Task[None]] = set()
        listeners = []
        for proxy in proxies:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: FaultProxy = proxy) -> None:
                task = asyncio.ensure_future(proxy.serve(reader, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

            listener = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=2048)
            proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            listeners.append(listener)
        started.set()
        await stop.wait()
        for listener in listeners:
            listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    if not started.wait(20):
        raise RuntimeError("the proxies did not start")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
