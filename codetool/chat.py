"""An asynchronous client for OpenAI-compatible chat servers.

Made for thousands of short requests: n candidates in one request where the server can, retries with backoff, a limiter
that a 429 halves and success grows back, and usage counted. Imports httpx and never torch.

Limits: answers are not streamed, so the first byte of an answer comes when all of it is written; tool calls, images
and reasoning fields are not read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from codetool.completion import Completion, completion, decoded, joined, retry_after, served
from codetool.concurrency import together
from codetool.errors import CodeToolError, ConfigError, MissingError, PromptTooLongError, UnreachableError
from codetool.http_pools import HttpPools
from codetool.limiter import Limiter
from codetool.reach import reachable_url

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
LONGEST_PAUSE = 60.0  # seconds between two attempts at most, whatever Retry-After says
TIMEOUT_RETRIES = 2  # each costs the server a whole generation; every retry waits twice as long


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a model is served, and how hard to try."""

    base_url: str
    """Address up to and including the version, `http://localhost:8000/v1`."""
    model: str
    """Name of the model as the server lists it."""
    key_env: str | None
    """Environment variable that holds the API key; unset means that no key is sent."""
    concurrency: int
    """Requests in flight at most."""
    timeout: float
    """Seconds until the first byte of an answer."""
    retries: int
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: float
    """Seconds before the first retry; doubled for each further one."""
    group: str = "policy"
    """The group of options that all this was set with; messages name it."""

    @property
    def key(self) -> str | None:
        """The API key from the environment, None where there is none."""
        return (os.environ.get(self.key_env) or "").strip() or None if self.key_env else None


class _Again(Exception):
    """An attempt that brought nothing, where another one may."""

    def __init__(self, trouble: str, pause: float = 0.0) -> None:
        super().__init__(trouble)
        self.pause = pause
        """Seconds that the server asks to wait."""


class _TimeOut(_Again):
    """The server stayed silent."""


class _Busy(_Again):
    """The server has too much to do at the moment."""


class _Shorter(_Again):
    """The server refused a field; the request is to be sent again without it, at once."""


class ChatClient:
    """A live client; an asynchronous context manager whose entry asks the server which models it has."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.limiter = Limiter(server.concurrency)
        self._refused: set[str] = set()
        """Fields of a request that this server does not take, learnt on the way."""
        self._told = False
        """Whether the user knows that tokens are estimated."""

    async def __aenter__(self) -> ChatClient:
        """Raises UnreachableError, MissingError (no key) or ConfigError (wrong key, model or address)."""
        url = await reachable_url(self.server.base_url)
        pools = HttpPools(
            concurrency=self.server.concurrency,
            timeout=self._patience(self.server.timeout),
            base_url=url,
            headers={"Authorization": f"Bearer {self.server.key}"} if self.server.key else {},
        )
        async with AsyncExitStack() as stack:
            self._http = await stack.enter_async_context(pools)
            await self._probe()
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def complete(
        self,
        messages: Sequence[dict[str, str]],
        *,
        n: int,
        temperature: float,
        top_p: float,
        max_tokens: int,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Completion:
        """N answers to the messages. Several requests are made where the server gives fewer than n in one.

        Raises UnreachableError once the retries are used up, ConfigError for a wrong address, model or key, and
        PromptTooLongError for a prompt beyond the model's context, CodeToolError for another request that the server
        will not answer.
        """
        body = {
            "model": self.server.model,
            "messages": list(messages),
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_tokens,
        }
        body |= {"stop": list(stop)} if stop else {}
        body |= {"seed": seed} if seed is not None else {}
        first = Completion((), 0, ())
        if "n" not in self._refused:
            first = await self._completion(body | ({"n": n} if n > 1 else {}))
        missing = range(len(first.texts), n)
        if not missing:
            return first
        if first.texts:
            self._refused.add("n")
        # The same seed would bring the same text again.
        singles = [body | ({"seed": seed + i} if seed is not None else {}) for i in missing]
        return joined([first, *await together(self._completion(single) for single in singles)])

    async def _completion(self, body: dict[str, Any]) -> Completion:
        answer = await self.answer(body)
        done = completion(answer, body)
        if done.estimated and not self._told:
            self._told = True
            log.warning("%s reports no usage: tokens are estimated as characters / 4", self.server.base_url)
        return done

    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The decoded answer to one request of chat/completions, after retries. Raises what `complete` raises."""
        attempt, timeouts, fruitless, group = 0, 0, 0, self.server.group
        answered = self.limiter.answered
        while True:
            try:
                return await self._attempt(body, self.server.timeout * 2**timeouts)
            except _Shorter:
                continue
            except _Again as again:
                attempt, timeouts = attempt + 1, timeouts + isinstance(again, _TimeOut)
                # Turned away while others are answered means to wait for one's turn: a quota a minute, a crowd.
                moving = isinstance(again, _Busy) and self.limiter.answered > answered
                fruitless, answered = 0 if moving else fruitless + 1, self.limiter.answered
                if fruitless > self.server.retries or timeouts > TIMEOUT_RETRIES:
                    raise UnreachableError(
                        f"{self.server.base_url} gave no answer in {attempt} attempts; the last one: {again}. Is the "
                        f"server up and not overloaded? `{group}.retries`, `{group}.timeout` and `{group}.concurrency` "
                        "set how hard it is tried; the same command resumes."
                    ) from again
                log.debug("attempt %d at %s: %s", attempt, self.server.base_url, again)
                # Jitter, so that requests which failed together do not come back together.
                pause = self.server.backoff * 2 ** min(attempt - 1, 30) * random.uniform(0.5, 1.5)
                await asyncio.sleep(min(LONGEST_PAUSE, max(pause, again.pause)))

    async def _attempt(self, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        ticket = await self.limiter.acquire()
        sent = {_NEW_NAMES.get(k, k) if k in self._refused else k: v for k, v in body.items() if self._wanted(k)}
        try:
            response = await self._http.request(
                "POST", "chat/completions", json=sent, timeout=self._patience(timeout)
            )
        except httpx.TransportError as error:
            self.limiter.failed()
            silent = isinstance(error, httpx.TimeoutException)
            raise (_TimeOut if silent else _Again)(f"{type(error).__name__} {error}".strip()) from error
        finally:
            self.limiter.release()
        return self._read(response, ticket, sent)

    def _wanted(self, field: str) -> bool:
        return field not in self._refused or field in _NEW_NAMES

    def _read(self, response: httpx.Response, ticket: int, sent: dict[str, Any]) -> dict[str, Any]:
        """The decoded answer; raises _Again where another attempt may help, else a CodeToolError."""
        status, said = response.status_code, f"HTTP {response.status_code} {self._said(response)}".strip()
        if status == 429:
            self.limiter.throttled(ticket)
            raise _Busy(said, pause=retry_after(response))
        if status >= 500 or status == 408:
            self.limiter.failed()
            raise _Again(said, pause=retry_after(response))
        if status in {400, 422}:
            self._learn(said, sent)
        if not response.is_success:
            raise self._refusal(response)
        answer = decoded(response)
        if answer is None:
            self.limiter.failed()
            raise _Again("an answer that is no chat completion")
        self.limiter.succeeded()
        return answer

    def _learn(self, said: str, sent: dict[str, Any]) -> None:
        """Note a field that the server refuses and that can be left out or renamed; raises _Shorter if there is one."""
        for field in ("max_tokens", "seed", "n"):
            if field in sent and re.search(rf"(?<!\w){_NEW_NAMES.get(field, field)}(?!\w)", said):
                if field not in self._refused:
                    log.info("%s refuses `%s`: going on without it", self.server.base_url, field)
                self._refused.add(field)
                raise _Shorter(said)

    def _refusal(self, response: httpx.Response) -> CodeToolError:
        """The error for a status that no retry will change."""
        where, said = f"{self.server.base_url} (HTTP {response.status_code})", self._said(response)
        if response.status_code in {401, 403} and self.server.key is None:
            name = self.server.key_env or f"that `{self.server.group}.key_env=` names"
            return MissingError(f"{where} wants an API key: put it into the environment variable {name}.")
        if response.status_code in {401, 403}:
            return ConfigError(f"{where} refuses the API key in the environment variable {self.server.key_env}: {said}")
        if response.status_code == 404:
            return ConfigError(
                f"{where} has no chat/completions for the model {self.server.model!r}: {said}. "
                f"Check `{self.server.group}.model` and `{self.server.group}.base_url`, which usually ends in /v1."
            )
        if re.search(r"context.{0,20}(length|window|size)|too (long|many tokens)", said, re.IGNORECASE):
            return PromptTooLongError(f"{where}: {said}")
        return CodeToolError(f"{where} refuses a request for {self.server.model}: {said}")

    def _said(self, response: httpx.Response) -> str:
        """The server's own message, short, and without the key should it repeat it; empty for a success."""
        if response.is_success:
            return ""
        try:
            said = response.json()
            said = said.get("error", said.get("detail", said))
            text = str(said.get("message", said) if isinstance(said, dict) else said)
        except (ValueError, AttributeError):
            text = response.text
        return (text.replace(self.server.key, "…") if self.server.key else text).strip()[:300]

    def _patience(self, seconds: float) -> httpx.Timeout:
        return httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)

    async def _probe(self) -> None:
        """Ask for the served models: the one moment where a wrong address, key or model is told before any task."""
        try:
            response = await self._http.request("GET", "models")
        except httpx.TransportError as error:
            raise UnreachableError(
                f"{self.server.base_url} cannot be reached: {type(error).__name__} {error}".strip() + ". Start the "
                f"server or set its address with `{self.server.group}.base_url=`; it has {CONNECT_SECONDS:g} s to "
                f"connect and {self.server.timeout:g} s to answer (`{self.server.group}.timeout`)."
            ) from error
        if response.status_code in {401, 403}:
            raise self._refusal(response)
        names = served(response)
        if names and not any(name == self.server.model or name.endswith(f"/{self.server.model}") for name in names):
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            raise ConfigError(
                f"{self.server.base_url} does not serve {self.server.model!r} but {', '.join(names[:10])}{more}. "
                f"Choose one with `{self.server.group}.model=`."
            )


_NEW_NAMES = {"max_tokens": "max_completion_tokens"}
"""What a field is called where its old name is refused."""
