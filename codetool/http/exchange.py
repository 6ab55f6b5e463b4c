"""Requests to one chat server through `openai.AsyncOpenAI`, each of them once; its answers as plain dictionaries.

openai raises nothing for an error inside a success, and its models drop what they do not know, so answers are read from
the raw response. It takes 0.4 s to import and is imported when a server is first asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from json import JSONDecodeError, loads
from typing import Any, Self

import httpx

from codetool.http.chat_answer import checked_answer
from codetool.http.chat_response import served
from codetool.http.client import open_http_client
from codetool.http.endpoint import Server
from codetool.http.reachability import reachable_url
from codetool.http.retry import RetryableError
from codetool.http.server_error import ServerError, error_from, read_error
from codetool.http.stream import assemble

CONNECT_SECONDS = 5.0


class TimeOutError(RetryableError):
    """The server stayed silent."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in an answer's place, and the headers that it came with."""

    error: ServerError
    headers: Mapping[str, str] = field(default_factory=dict)


class Exchange:
    """An open connection to a chat server; an asynchronous context manager."""

    def __init__(self, server: Server, key: str | None) -> None:
        """Takes where the server is, and the key that goes with every request."""
        self._server, self._key = server, key
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises UnreachableError for an unknown host, ConfigError for a wrong address or proxy."""
        url = await reachable_url(self._server.base_url)
        from openai import AsyncOpenAI

        self.http = await self._stack.enter_async_context(
            open_http_client(
                url,
                self._key,
                concurrency=self._server.concurrency,
                timeout=_patience(self._server.timeout),
            )
        )
        client: Any = self.http  # openai's types name its own HTTP library; it takes httpx's client as well
        self._openai = AsyncOpenAI(
            api_key="added by the transport",
            base_url=str(url.copy_with(query=None)),
            default_query=dict(url.params),
            max_retries=0,
            http_client=client,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._stack.aclose()

    async def ask(self, sent: Mapping[str, Any], timeout: float) -> dict[str, Any] | Failure:
        """What the server answers to one chat request. Raises RetryableError where it answers nothing, or no JSON."""
        import openai

        stream = self._server.stream
        create: Any = self._openai.chat.completions.with_raw_response.create
        try:
            raw = await create(
                model=sent["model"],
                messages=(),  # openai walks through the types of each, 1 ms a request; extra_body is sent as it is
                stream=True if stream else openai.omit,
                extra_body={**sent, **self._server.extra_body},
                timeout=_patience(timeout),
            )
            response: httpx.Response = raw.http_response
            if stream and "json" not in response.headers.get("content-type", ""):
                content = await assemble(raw.parse())
            else:
                content = loads(await response.aread())
        except openai.APIStatusError as error:
            return _failure(error.response)
        except openai.APIConnectionError as error:
            raise _lost(error.__cause__ or error) from error
        except openai.APIError as error:  # an event of a stream
            return Failure(error_from({"error": error.body or str(error)}))
        except httpx.TransportError as error:
            raise _lost(error) from error
        except (JSONDecodeError, UnicodeDecodeError) as error:
            raise RetryableError("an answer that is no JSON") from error
        answer = checked_answer(content)
        return Failure(answer, response.headers) if isinstance(answer, ServerError) else answer

    async def models(self) -> list[str] | Failure:
        """The names of the served models, empty where the server does not tell. Raises RetryableError."""
        import openai

        try:
            raw: Any = await self._openai.models.with_raw_response.list()
        except openai.APIStatusError as error:
            return _failure(error.response)
        except openai.APIConnectionError as error:
            raise _lost(error.__cause__ or error) from error
        return served(raw.http_response)


def _patience(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)


def _failure(response: Any) -> Failure:
    """The error of a response with a status that is no success."""
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "an address that it does not name")
        return Failure(ServerError(response.status_code, target), response.headers)
    return Failure(read_error(response.status_code, response.text), response.headers)


def _lost(error: BaseException) -> RetryableError:
    """A connection that broke off or stayed silent."""
    kind = TimeOutError if isinstance(error, httpx.TimeoutException) else RetryableError
    return kind(f"{type(error).__name__} {error}".strip())
