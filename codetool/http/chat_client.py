"""An asynchronous client for OpenAI-compatible chat servers: `openai.AsyncOpenAI` with what thousands of requests need.

Around it stand a limiter that a 429 halves and success grows back, connection pools for a thousand requests in flight,
retries with backoff, and what is learnt of a server on the way: fields that it does not take, how long answers may be.
openai takes 0.4 s to import and is imported when a client is opened; torch never is.

Limits: tool calls and images are not read; thoughts beside an answer are counted and left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any

import httpx

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError, MissingError, PromptFilteredError, UnreachableError
from codetool.http.chat_connection import CONNECT_SECONDS, ChatConnection, ErrorResponse, ServerTimeoutError
from codetool.http.chat_response import Completion, merge_completions, parse_completion
from codetool.http.context_size import find_answer_room, is_overflow
from codetool.http.endpoint import Endpoint
from codetool.http.rate_limiter import AdaptiveLimiter
from codetool.http.request_fields import LENGTH_FIELDS, RequestFields
from codetool.http.response_warnings import FILTERED_PROMPT, ResponseWarnings
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries, parse_retry_after
from codetool.http.server_error import ServerError
from codetool.http.user_errors import format_error, is_final, make_user_error

log = logging.getLogger(__name__)

TIMEOUT_RETRIES = 2  # each costs the server a whole generation; every retry waits twice as long
MAX_ADAPTATIONS = 12
"""How often one request is changed after refusals before the last of them stands."""
MAX_SHORT_RESPONSES = 3
"""Answers of one choice to requests for several, without any of more, after which a server is taken to ignore `n`."""

AcceptResponse = Callable[[dict[str, Any]], bool]
"""Whether an answer holds what was asked for; one that does not is asked for again."""


class _RateLimitedError(RetryableError):
    """The server has too much to do at the moment."""


class _RejectedResponseError(RetryableError):
    """An answer without what was asked for."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("an answer without what was asked for")
        self.response = answer


class ChatClient:
    """A live client; an asynchronous context manager whose entry asks the server which models it has."""

    def __init__(self, server: Endpoint) -> None:
        self.endpoint = server
        self.limiter = AdaptiveLimiter(server.concurrency)
        self.warnings = ResponseWarnings(server)
        self._fields = RequestFields(server.base_url)
        self._key: str | None = None
        self._final_error: CodeToolError | None = None
        """Why this server answers nobody any more, once it said so."""
        self._short_response_count = 0
        """Answers with fewer choices than asked for."""
        self._gives_several = False
        """Whether any answer had more than one choice."""

    async def __aenter__(self) -> ChatClient:
        """Raises UnreachableError, MissingError (no key) or ConfigError (wrong key, model, proxy or address)."""
        self._key = self.endpoint.key
        self._connection = await ChatConnection(self.endpoint, self._key).__aenter__()
        try:
            await self._check_model()
        except BaseException:
            await self._connection.__aexit__()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.warnings.log_counts()
        await self._connection.__aexit__()

    @property
    def http(self) -> httpx.AsyncClient:
        """The HTTP client below, for requests that are not of OpenAI's kind; the key goes with them."""
        return self._connection.http

    async def complete(
        self,
        messages: Sequence[dict[str, str]],
        *,
        n: int,
        temperature: float | None,
        top_p: float | None,
        max_tokens: int,
        stop: Sequence[str] = (),
        sends_stop: bool = True,
        seed: int | None = None,
    ) -> Completion:
        """N answers to the messages. What a server gives fewer than n of in one request is asked for singly.

        What is None is not sent; without `sends_stop` answers are cut at the stop texts here. Raises UnreachableError
        once the retries are used up, ConfigError for a wrong address, model or key, PromptRefusedError for a prompt
        that will never be answered, CodeToolError for another request that the server will not answer.
        """
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages)}
        stop_sent = list(stop) if stop and sends_stop else None
        optional = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stop": stop_sent}
        body |= {name: value for name, value in (optional | {"seed": seed}).items() if value is not None}
        first = Completion((), 0, ())
        if n == 1 or self._fields.supports("n"):
            first = await self._request_completion(body | ({"n": n} if n > 1 else {}), stop)
        missing = range(len(first.texts), n)
        if n > 1 and first.texts and self._fields.supports("n"):
            self._record_choice_count(len(first.texts), n)
        # The same seed would bring the same text again.
        singles = [body | ({"seed": seed + i} if seed is not None else {}) for i in missing]
        later = await gather_or_cancel(self._request_completion(single, stop) for single in singles) if singles else ()
        return merge_completions([first, *later]) if singles else first

    def _record_choice_count(self, received: int, requested: int) -> None:
        """Say once that a server gives fewer choices than asked for, and stop asking where it never gives several."""
        if received > 1:
            self._gives_several = True
        if received == requested:
            return
        message = (
            f"gave {received} of {requested} candidates in one answer: those that are missing are asked for singly"
        )
        self.warnings.warn_once("short", message)
        self._short_response_count += 1
        if not self._gives_several and self._short_response_count >= MAX_SHORT_RESPONSES:
            self._fields.drop("n", "gives one candidate whatever `n` is")

    async def _request_completion(self, body: dict[str, Any], stop: Sequence[str]) -> Completion:
        completion = parse_completion(await self.request(body), body)
        completion = replace(completion, texts=tuple(_cut_at_stop(stop, text) for text in completion.texts))
        self.warnings.record(completion, body)
        return completion

    async def request(self, body: dict[str, Any], accept: AcceptResponse = lambda answer: True) -> dict[str, Any]:
        """The decoded answer to one request of chat/completions, after retries. Raises what `complete` raises.

        An answer that is not accepted counts as one that brought nothing; it is returned after the last attempt.
        """
        timeouts, successes = 0, self.limiter.success_count

        async def attempt() -> dict[str, Any]:
            nonlocal timeouts, successes
            try:
                return await self._send_adapted(body, self.endpoint.timeout * 2**timeouts, accept)
            except ServerTimeoutError as error:
                timeouts += 1
                error.last = timeouts > TIMEOUT_RETRIES
                raise
            except _RateLimitedError as error:
                # Turned away while others are answered means to wait for one's turn: a quota a minute, a crowd.
                error.counts = self.limiter.success_count <= successes
                raise
            finally:
                successes = self.limiter.success_count

        try:
            answer = await call_with_retries(attempt, RetryPolicy(self.endpoint.retries, self.endpoint.backoff))
        except RetriesExhaustedError as error:
            if not isinstance(error.reason, _RejectedResponseError):
                raise self._make_exhausted_error(error) from error
            answer = error.reason.response
        self.warnings.warn_if_prompt_cut(answer.get("usage"), body)
        return answer

    async def _send_adapted(self, body: dict[str, Any], timeout: float, accept: AcceptResponse) -> dict[str, Any]:
        """The answer to the request in the form that the server takes; what it refuses is learnt on the way."""
        if self.endpoint.stream:
            body = body | {"stream_options": {"include_usage": True}}
        for adaptations in count():
            if self._final_error is not None:
                raise self._final_error
            sent_body = self._fields.adapt(body)
            answer = await self._send_once(sent_body, timeout, accept)
            if isinstance(answer, dict):
                return answer
            error = answer
            if adaptations < MAX_ADAPTATIONS and self._fields.learn_from(error, sent_body):
                continue
            room = self._find_room(error, sent_body)
            if room is None or adaptations >= MAX_ADAPTATIONS:
                raise self._make_refusal_error(error)
            log.debug("%s: %s; %d tokens are left for the answer", self.endpoint.base_url, error.short_message, room)
            body = body | {"max_tokens": room}
        raise AssertionError("unreachable")

    def _find_room(self, error: ServerError, sent_body: Mapping[str, Any]) -> int | None:
        """Tokens that the context leaves for the answer, None where the error is another or there are none."""
        name = next((name for name in LENGTH_FIELDS if name in sent_body), None)
        return find_answer_room(error, sent_body[name]) if name and is_overflow(error) else None

    async def _send_once(
        self, sent_body: dict[str, Any], timeout: float, accept: AcceptResponse
    ) -> dict[str, Any] | ServerError:
        """The answer, or the error of a request that no repetition makes better. Raises RetryableError."""
        ticket = await self.limiter.acquire()
        try:
            answer = await self._connection.send(sent_body, timeout)
        except RetryableError:
            self.limiter.failed()
            raise
        finally:
            self.limiter.release()
        if isinstance(answer, dict):
            self.limiter.succeeded()
            if accept(answer):
                return answer
            raise _RejectedResponseError(answer)
        error, retry_after = answer.error, parse_retry_after(answer.headers)
        if not error.is_transient or is_overflow(error):
            return error
        if error.status == 429:
            self.limiter.throttled(ticket)
            raise _RateLimitedError(format_error(error, self._key), retry_after=retry_after)
        self.limiter.failed()
        raise RetryableError(format_error(error, self._key), retry_after=retry_after)

    def _make_exhausted_error(self, error: RetriesExhaustedError) -> UnreachableError:
        group = self.endpoint.group
        return UnreachableError(
            f"{self.endpoint.base_url} gave no answer in {error.attempts} attempts; the last one: {error.reason}. Is "
            f"the server up and not overloaded? `{group}.retries`, `{group}.timeout` and `{group}.concurrency` "
            "set how hard it is tried; the same command resumes."
        )

    def _make_refusal_error(self, error: ServerError) -> CodeToolError:
        """The exception for what no retry changes; one that every request would meet is kept for further ones."""
        user_error = make_user_error(self.endpoint, self._key, error)
        if isinstance(user_error, PromptFilteredError):
            self.warnings.count_reason(FILTERED_PROMPT)
        if is_final(error):
            self._final_error = user_error
        return user_error

    async def _check_model(self) -> None:
        """Ask for the served models: the one moment where a wrong address, key or model is told before any task."""
        group, model = self.endpoint.group, self.endpoint.model
        try:
            names = await self._connection.list_models()
        except RetryableError as error:
            raise UnreachableError(
                f"{self.endpoint.base_url} cannot be reached: {error}. Start the server or set its address with "
                f"`{group}.base_url=`; it has {CONNECT_SECONDS:g} s to connect and {self.endpoint.timeout:g} s to "
                f"answer (`{group}.timeout`)."
            ) from error
        if isinstance(names, ErrorResponse):
            await self._handle_model_list_error(names.error)
        elif names and not any(name == model or name.endswith(f"/{model}") for name in names):
            listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            log.warning("%s lists %s, and not %r: a first request decides", self.endpoint.base_url, listed, model)
            await self._send_trial_request(f"It lists {listed}; choose one with `{group}.model=`.")

    async def _handle_model_list_error(self, error: ServerError) -> None:
        """Raise for a list of models that is withheld for lack of a key; a key may be for chat alone."""
        if error.status not in {401, 403}:
            return
        if error.status == 401 and not re.search(r"scope|permission", error.message, re.IGNORECASE):
            raise self._make_refusal_error(error)
        if self._key is None:
            raise self._make_refusal_error(error)
        log.warning(
            "%s does not list its models: %s; a first request decides",
            self.endpoint.base_url,
            format_error(error, self._key),
        )
        await self._send_trial_request("")

    async def _send_trial_request(self, advice: str) -> None:
        """Return if a request of one token is not refused for its key, model or address. Raises ConfigError."""
        body = {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            await self._send_adapted(body, self.endpoint.timeout, lambda answer: True)
        except (ConfigError, MissingError) as error:
            raise type(error)(f"{error} {advice}".strip()) from error
        except (CodeToolError, RetryableError) as error:
            log.debug("the first request: %s", error)


def _cut_at_stop(stop: Sequence[str], text: str) -> str:
    """The text up to the first of the stop texts, for servers that write on."""
    return min((text.split(stop_text, 1)[0] for stop_text in stop if stop_text), key=len, default=text)
