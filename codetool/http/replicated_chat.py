"""Chat client for one server or several replicas of a model, whatever the setting `base_url` names.

`open_chat` yields what policies, PRMs, judges and simulators send their requests to.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from codetool.http.chat_client import AcceptResponse, ChatClient
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.http.replicas import Replica, ReplicaSet, get_task_key
from codetool.http.response_warnings import ResponseWarnings


class ReplicatedChat:
    """Sends the requests of each task to one of several servers."""

    def __init__(self, server: Endpoint) -> None:
        """Take the endpoint with its replicas."""
        self.endpoint = server
        self._replicas = ReplicaSet(
            f"{server.group}.base_url",
            [_ChatReplica(each) for each in server.list_servers()],
            service=server.group,
            backoff=server.backoff,
        )

    async def __aenter__(self) -> ReplicatedChat:
        """Raises UnreachableError if no server answers, MissingError or ConfigError if one cannot be used."""
        await self._replicas.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._replicas.__aexit__()

    @property
    def warnings(self) -> ResponseWarnings:
        """Warnings about the first server's responses."""
        return self.find_client().warnings

    def find_client(self) -> ChatClient:
        """Return the client of a server that answers."""
        return self._replicas.find_ready().client

    async def complete(self, messages: Sequence[dict[str, str]], **options: Any) -> Completion:
        """Return completions of the messages; raises what `ChatClient.complete` raises."""
        key = _find_key(messages)
        return await self._replicas.call(key, lambda replica: replica.client.complete(messages, **options))

    async def request(self, body: dict[str, Any], find_fault: AcceptResponse) -> dict[str, Any]:
        """Send one chat request and return the response; raises what `ChatClient.request` raises."""
        key = _find_key(body["messages"])
        return await self._replicas.call(key, lambda replica: replica.client.request(body, find_fault))


class _ChatReplica(Replica):
    """One chat server among several."""

    def __init__(self, server: Endpoint) -> None:
        self.address = server.base_url
        self.client = ChatClient(server, is_left=lambda: self.is_left)
        self._is_connected = False

    async def check(self, *, probe: bool) -> Mapping[str, Any]:
        if not self._is_connected:
            await self.client.connect()
            self._is_connected = True
        return await self.client.check(probe=probe)

    async def close(self) -> None:
        if self._is_connected:
            await self.client.__aexit__(None, None, None)


Chat = ChatClient | ReplicatedChat
"""A chat model behind one server or several."""


@asynccontextmanager
async def open_chat(server: Endpoint) -> AsyncIterator[Chat]:
    """Open the client of an endpoint, with or without replicas.

    Raises UnreachableError, MissingError (no key) or ConfigError (wrong key, model, proxy or address).
    """
    if server.replicas:
        async with ReplicatedChat(server) as replicated:
            yield replicated
    else:
        async with ChatClient(server) as client:
            yield client


def _find_key(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the key of the task that a request belongs to; a request of no task has a key of its own."""
    key = get_task_key()
    return hashlib.sha256(repr(messages).encode()).hexdigest() if key is None else key
