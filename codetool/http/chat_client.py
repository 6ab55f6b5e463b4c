"""Asynchronous client for OpenAI-compatible chat servers, for thousands of requests at once.

It wraps `openai.AsyncOpenAI` with an adaptive limit on requests in flight, connection pools, retries with backoff, and
what it has learned about the server from its refusals: unsupported fields, and the maximum length of an answer.
openai takes 0.4 s to import and is imported when a client is opened; torch is never imported.

Limits: tool calls and images are not supported; reasoning beside an answer is counted and left out.
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

from codetool.concurrency import gather_or_cancel, large_data_scope
from codetool.errors import CodeToolError, ConfigError, MissingError, PromptFilteredError, UnreachableError
from codetool.http.chat_connection import CONNECT_SECONDS, ChatConnection, ErrorResponse, ServerTimeoutError
from codetool.http.chat_response import Completion, merge_completions, parse_completion
from codetool.http.context_size import find_answer_room, is_overflow
from codetool.http.endpoint import Endpoint
from codetool.http.errors_in_success import NO_CHOICE, NoChoiceError
from codetool.http.rate_limiter import AdaptiveLimiter
from codetool.http.request_fields import LENGTH_FIELDS, RequestFields
from codetool.http.response_warnings import FILTERED_PROMPT, ResponseWarnings
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries, parse_retry_after
from codetool.http.server_error import ServerError
from codetool.http.user_errors import format_error, is_final, make_exhausted_error, make_user_error

log = logging.getLogger(__name__)

TIMEOUT_RETRIES = 2  # each costs the server a whole generation; every retry waits twice as long
NO_CHOICE_RETRIES = 2  # the server may bill each, and mostly answers a prompt in the same way again
MAX_ADAPTATIONS = 12
"""Maximum number of times that one request is changed after a refusal."""
MAX_SHORT_RESPONSES = 3
"""Number of responses with a single choice, and none with more, after which a server is assumed to ignore `n`."""

AcceptResponse = Callable[[dict[str, Any]], bool]
"""Function that says whether a response is usable; an unusable one counts as a failed attempt."""


class _RateLimitedError(RetryableError):
    """The server answered 429."""


class _RejectedResponseError(RetryableError):
    """The server's response was not accepted by the caller."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("an answer without what was asked for")
        self.response = answer


class ChatClient:
    """Live client; an asynchronous context manager that checks the server and its model on entry."""

    def __init__(self, server: Endpoint) -> None:
        self.endpoint = server
        self.limiter = AdaptiveLimiter(server.concurrency)
        self.warnings = ResponseWarnings(server)
        self._fields = RequestFields(server.base_url)
        self._key: str | None = None
        self._final_error: CodeToolError | None = None
        """Error that all further requests would get, such as a wrong key; None until one came."""
        self._short_response_count = 0
        """Number of responses with fewer choices than requested."""
        self._gives_several = False
        """Whether any response had more than one choice."""

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
        """The HTTP client, which sends the key, for requests that the OpenAI API does not define."""
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
        """Return n completions of the messages. Choices missing from the first response are requested one by one.

        Fields that are None are not sent; without `sends_stop` the client cuts completions at the stop texts. Raises
        UnreachableError once the retries are used up, ConfigError for a wrong address, model or key, PromptRefusedError
        for a prompt that the server refuses, CodeToolError for other requests that it refuses.
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
        """Warn once of a server that returns too few choices, and stop sending `n` if it never returns several."""
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
        """Send one chat request with retries and return the decoded response. Raises what `complete` raises.

        A response that `accept` rejects counts as a failed attempt; it is returned after the last one.
        """
        timeouts, without_choice, successes = 0, 0, self.limiter.success_count

        async def attempt() -> dict[str, Any]:
            nonlocal timeouts, without_choice, successes
            try:
                return await self._send_adapted(body, self.endpoint.timeout * 2**timeouts, accept)
            except ServerTimeoutError as error:
                timeouts += 1
                error.last = timeouts > TIMEOUT_RETRIES
                raise
            except NoChoiceError as error:
                without_choice += 1
                error.last = without_choice > NO_CHOICE_RETRIES
                raise
            except _RateLimitedError as error:
                # A 429 while others are answered (a quota per minute, many clients) does not count as fruitless.
                error.counts = self.limiter.success_count <= successes
                raise
            finally:
                successes = self.limiter.success_count

        try:
            answer = await call_with_retries(attempt, RetryPolicy(self.endpoint.retries, self.endpoint.backoff))
        except RetriesExhaustedError as error:
            if not isinstance(error.reason, _RejectedResponseError):
                raise make_exhausted_error(self.endpoint, error) from error
            answer = error.reason.response
        self.warnings.warn_if_prompt_cut(answer.get("usage"), body)
        return answer

    async def _send_adapted(self, body: dict[str, Any], timeout: float, accept: AcceptResponse) -> dict[str, Any]:
        """Send the request in the form that the server supports, changing it after each refusal that allows it."""
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
        """Return the tokens that the context leaves for an answer; None for other errors or a full context."""
        name = next((name for name in LENGTH_FIELDS if name in sent_body), None)
        return find_answer_room(error, sent_body[name]) if name and is_overflow(error) else None

    async def _send_once(
        self, sent_body: dict[str, Any], timeout: float, accept: AcceptResponse
    ) -> dict[str, Any] | ServerError:
        """Send once. Returns the response or a permanent error; raises RetryableError for a temporary one."""
        ticket = await self.limiter.acquire()
        try:
            async with large_data_scope():
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
        if error.code == NO_CHOICE:
            raise NoChoiceError(format_error(error, self._key), retry_after=retry_after)
        self.limiter.failed()
        raise RetryableError(format_error(error, self._key), retry_after=retry_after)

    def _make_refusal_error(self, error: ServerError) -> CodeToolError:
        """Return the exception for a permanent error; an error that all requests would get is stored for them."""
        user_error = make_user_error(self.endpoint, self._key, error)
        if isinstance(user_error, PromptFilteredError):
            self.warnings.count_reason(FILTERED_PROMPT)
        if is_final(error):
            self._final_error = user_error
        return user_error

    async def _check_model(self) -> None:
        """List the served models, to report a wrong address, key or model before any task starts."""
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
        """Raise if the server does not list its models for a missing or wrong key; some keys are for chat only."""
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
        """Send a request for one token. Raises ConfigError or MissingError for a wrong key, model or address."""
        body = {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            await self._send_adapted(body, self.endpoint.timeout, lambda answer: True)
        except (ConfigError, MissingError) as error:
            raise type(error)(f"{error} {advice}".strip()) from error
        except (CodeToolError, RetryableError) as error:
            log.debug("the first request: %s", error)


def _cut_at_stop(stop: Sequence[str], text: str) -> str:
    """Return the text up to the first stop text, for servers that do not stop there."""
    return min((text.split(stop_text, 1)[0] for stop_text in stop if stop_text), key=len, default=text)
