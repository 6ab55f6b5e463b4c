"""What tests of the chat client share: a client's settings, and one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chat_server import ChatServer, Reply

from codetool.http.chat_client import ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint

MESSAGES = [{"role": "user", "content": "x" * 40}]


def settings(url: str, **changes: Any) -> Endpoint:
    server = Endpoint(base_url=url, model="m", key_env="TEST_KEY", concurrency=20, timeout=5, retries=3, backoff=0.01)
    return replace(server, **changes)


async def ask(client: ChatClient, n: int = 1, **changes: Any) -> Completion:
    options: dict[str, Any] = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 64, "stop": ["[Stop]"], "seed": 5}
    return await client.complete(changes.pop("messages", MESSAGES), n=n, **options | changes)


async def request_once(
    server: ChatServer, n: int = 1, *, asked: dict[str, Any] | None = None, **changes: Any
) -> Completion:
    async with ChatClient(settings(server.url, **changes)) as client:
        return await ask(client, n, **asked or {})


def make_refusal(message: str, status: int = 400, **error: Any) -> Reply:
    return Reply(status, {"error": {"message": message, "type": "invalid_request_error"} | error})


def script(*replies: Reply) -> Any:
    """Answer with these replies, one after the other."""
    left: Iterator[Reply] = iter(replies)
    return lambda body: next(left)


def choice(content: Any, **more: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}} | more
