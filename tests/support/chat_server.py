"""A chat server on a real socket that misbehaves on demand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """One HTTP response. `drop` closes the connection instead, `hang` never answers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False


def chat(*texts: str, tokens_in: int | None = 10, tokens_out: int = 6) -> Reply:
    """A good answer with these choices; no usage without `tokens_in`."""
    choices = [{"index": i, "message": {"role": "assistant", "content": text}} for i, text in enumerate(texts)]
    usage = {"usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}} if tokens_in is not None else {}
    return Reply(body={"choices": choices} | usage)


Handler = Callable[[dict[str, Any]], Reply | Awaitable[Reply]]


@dataclass
class ChatServer:
    """What was asked, and how to answer; `models` answers GET /v1/models."""

    handler: Handler
    models: Reply = field(default_factory=lambda: Reply(404))
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method = line.split()[0].decode()
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.headers.append(headers)
                self.paths.append(line.split()[1].decode())
                reply = self.models if method == "GET" else await self._chat(json.loads(body))
                if reply.hang:
                    await asyncio.sleep(3600)
                if reply.drop:
                    return
                content = json.dumps(reply.body).encode() if not isinstance(reply.body, bytes) else reply.body
                extra = "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
                head = f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(content)}\r\n{extra}\r\n"
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _chat(self, body: dict[str, Any]) -> Reply:
        self.requests.append(body)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            reply = self.handler(body)
            return reply if isinstance(reply, Reply) else await reply
        finally:
            self.running -= 1


@asynccontextmanager
async def serve_chat(handler: Handler, models: Reply | None = None) -> AsyncIterator[ChatServer]:
    """A server on a free port while the context is open."""
    server = ChatServer(handler, models or Reply(404))
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=2048)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def serve_in_process(handler: Handler, models: Reply | None = None) -> Iterator[ChatServer]:
    """The server on a thread of its own, so that a process under test can be waited for."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    held: list[ChatServer] = []

    async def serve() -> None:
        async with serve_chat(handler, models) as server:
            held.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield held[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
