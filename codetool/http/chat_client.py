"""Asynchronous client for OpenAI-compatible chat servers, for thousands of requests at once.

It wraps `openai.AsyncOpenAI` with an adaptive limit on requests in flight, connection pools, retries with backoff, and
what it has learned about the server from its refusals: unsupported fields, and the maximum length of an answer.
openai takes 0.4 s to import and is imported when a client is opened; torch is never imported.

Limits: tool calls and images are not supported; reasoning beside an answer is counted and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any

import httpx

from codetool.concurrency import gather_or_cancel, large_data_scope
from codetool.costs.usage import report_usage
from codetool.errors import CodeToolError, PromptFilteredError
from codetool.http.chat_connection import UNREADABLE, ChatConnection, ServerTimeoutError
from codetool.http.chat_response import Completion, measure_usage, merge_completions, merge_missing, parse_completion
from codetool.http.choice_counts import ChoiceCounts
from codetool.http.context_size import find_answer_room, is_overflow
from codetool.http.endpoint import Endpoint
from codetool.http.errors_in_success import NO_CHOICE, NoChoiceError
from codetool.http.fault_counts import report_fault, report_unused_tokens
from codetool.http.model_check import ModelCheck
from codetool.http.rate_limiter import AdaptiveLimiter
from codetool.http.request_fields import LENGTH_FIELDS, RequestFields
from codetool.http.response_warnings import FILTERED_PROMPT, ResponseWarnings
from codetool.http.retry import (
    RateLimitedError,
    RejectedResponseError,
    RetriesExhaustedError,
    RetryableError,
    RetryPolicy,
    call_with_retries,
    never,
    parse_retry_after,
)
from codetool.http.server_error import ServerError
from codetool.http.stop_texts import cut_at_stop
from codetool.http.user_errors import format_error, is_final, make_exhausted_error, make_user_error

log = logging.getLogger(__name__)

TIMEOUT_RETRIES = 3  # each costs the server a whole generation; the first two wait twice as long as before
NO_CHOICE_RETRIES = 2  # the server may bill each, and mostly answers a prompt in the same way again
MAX_PATIENCE = 4
"""Maximum factor on the time-out of a request that timed out before."""
MAX_ADAPTATIONS = 12
"""Maximum number of times that one request is changed after a refusal."""

AcceptResponse = Callable[[dict[str, Any]], str | None]
"""Function that returns None for a usable response, else the kind of its fault; that is then a failed attempt."""


class ChatClient:
    """Live client; an asynchronous context manager that checks the server and its model on entry."""

    def __init__(self, server: Endpoint, is_left: Callable[[], bool] | None = None) -> None:
        """Take the endpoint; `is_left`, of one of several replicas, says whether other servers are asked instead."""
        self.endpoint = server
        self.limiter = AdaptiveLimiter(server.concurrency)
        self.warnings = ResponseWarnings(server)
        self._fields = RequestFields(server.base_url)
        self._retry_policy = RetryPolicy(
            server.retries,
            server.backoff,
            service=server.group,
            is_pointless=is_left or never,
            counts_given_up=is_left is None,
        )
        self._key: str | None = None
        self._choices = ChoiceCounts(self._fields, self.warnings)
        self._final_error: CodeToolError | None = None
        """Error that all further requests would get, such as a wrong key; None until one came."""

    async def __aenter__(self) -> ChatClient:
        """Raises UnreachableError, MissingError (no key) or ConfigError (wrong key, model, proxy or address)."""
        await self.connect()
        try:
            await self.check()
        except BaseException:
            await self._connection.__aexit__()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.warnings.log_counts()
        await self._connection.__aexit__()

    async def connect(self) -> None:
        """Prepare connections. Raises UnreachableError for an unknown host, ConfigError for a wrong address."""
        self._key = self.endpoint.key
        self._connection = await ChatConnection(self.endpoint, self._key).__aenter__()

    async def check(self, *, probe: bool = False) -> dict[str, Any]:
        """Check the server and its model, and return what it tells about the model; empty if it tells nothing.

        With `probe`, it must also answer a request for one token. Raises what `__aenter__` raises.
        """
        send, make_error = self._send_trial_request, self._make_refusal_error
        check = ModelCheck(self.endpoint, self._key, self._connection, send, make_error)
        description = await check.run()
        if probe:
            await check.send_probe()
        return description

    def find_client(self) -> ChatClient:
        """Return this client, which has one server."""
        return self

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
        logprobs: bool = False,
        token_ids: bool = False,
    ) -> Completion:
        """Return n completions of the messages. Choices missing from the first response are requested one by one.

        With `logprobs` the log-probabilities of their tokens are requested; a server that refuses or ignores the field
        gives none. `token_ids` requests the ids of the tokens, which vLLM gives. Fields that are None are not sent;
        without `sends_stop` the client cuts completions at the stop texts. Raises UnreachableError once the retries are
        used up, ConfigError for a wrong address, model or key, PromptRefusedError for a prompt that the server refuses,
        CodeToolError for other requests that it refuses.
        """
        body: dict[str, Any] = {"model": self.endpoint.model, "messages": list(messages)}
        stop_sent = list(stop) if stop and sends_stop else None
        optional: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        optional |= {"stop": stop_sent, "seed": seed, "logprobs": logprobs or None}
        optional |= {"return_token_ids": token_ids or None}
        body |= {name: value for name, value in optional.items() if value is not None}
        completion = await self._request_choices(body, n, seed)
        completion = cut_at_stop(completion, stop)
        self.warnings.record(completion, body)
        return completion

    async def _request_choices(self, body: dict[str, Any], n: int, seed: int | None) -> Completion:
        """Return n choices; if the server usually gives all of them in one answer, those alone are its tokens."""
        first = Completion((), 0, ())
        if n == 1 or self._fields.supports("n"):
            first = await self._request_completion(body | ({"n": n} if n > 1 else {}))
        missing = range(len(first.texts), n)
        if n > 1 and first.texts and self._fields.supports("n"):
            self._choices.record(len(first.texts), n)
        if not missing:
            return first
        # The same seed would bring the same text again.
        singles = [body | ({"seed": seed + i} if seed is not None else {}) for i in missing]
        later = await gather_or_cancel(self._request_completion(single) for single in singles)
        if not first.texts or not self._choices.gives_several:
            return merge_completions([first, *later])
        report_fault(self.endpoint.group, "missing_choices")
        merged, repeated = merge_missing(first, later)
        report_unused_tokens(self.endpoint.group, sum(single.tokens_in for single in later), repeated)
        return merged

    async def _request_completion(self, body: dict[str, Any]) -> Completion:
        def find_fault(answer: dict[str, Any]) -> str | None:
            try:
                parse_completion(answer, body)
            except (CodeToolError, *UNREADABLE):
                return "unreadable_answer"
            surplus = self._choices.is_faulty_surplus(len(answer["choices"]), body.get("n", 1))
            return "surplus_choices" if surplus else None

        answer = await self.request(body, find_fault)
        try:
            return parse_completion(answer, body)
        except UNREADABLE as error:
            raise CodeToolError(f"{self.endpoint.base_url} answers with no chat completion: {error}") from error

    async def request(self, body: dict[str, Any], find_fault: AcceptResponse = lambda answer: None) -> dict[str, Any]:
        """Send one chat request with retries and return the decoded response. Raises what `complete` raises.

        A response with a fault counts as a failed attempt; it is returned after the last one.
        """
        timeouts, without_choice, successes = 0, 0, self.limiter.success_count

        async def attempt() -> dict[str, Any]:
            nonlocal timeouts, without_choice, successes
            try:
                patience = min(2**timeouts, MAX_PATIENCE)
                return await self._send_adapted(body, self.endpoint.timeout * patience, find_fault)
            except ServerTimeoutError as error:
                timeouts += 1
                error.last = timeouts > TIMEOUT_RETRIES
                raise
            except NoChoiceError as error:
                without_choice += 1
                error.last = without_choice > NO_CHOICE_RETRIES
                raise
            except RateLimitedError as error:
                # A 429 while others are answered (a quota per minute, many clients) does not count as fruitless.
                error.counts = self.limiter.success_count <= successes
                raise
            finally:
                successes = self.limiter.success_count

        try:
            answer = await call_with_retries(attempt, self._retry_policy)
        except RetriesExhaustedError as error:
            if not isinstance(error.reason, RejectedResponseError):
                raise make_exhausted_error(self.endpoint, error) from error
            answer = error.reason.response
        self.warnings.warn_if_prompt_cut(answer.get("usage"), body)
        return answer

    async def _send_adapted(self, body: dict[str, Any], timeout: float, find_fault: AcceptResponse) -> dict[str, Any]:
        """Send the request in the form that the server supports, changing it after each refusal that allows it."""
        if self.endpoint.stream:
            body = body | {"stream_options": {"include_usage": True}}
        for adaptations in count():
            if self._final_error is not None:
                raise self._final_error
            sent_body = self._fields.adapt(body)
            answer = await self._send_once(sent_body, timeout, find_fault)
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
        self, sent_body: dict[str, Any], timeout: float, find_fault: AcceptResponse
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
            usage = measure_usage(answer, sent_body)
            report_usage(self.endpoint.group, usage.tokens_in, usage.tokens_out, usage.tokens_in_cached)
            if (fault := find_fault(answer)) is None:
                return answer
            self._report_unused_tokens(answer.get("usage"))
            raise RejectedResponseError(answer, fault)
        error, retry_after = answer.error, parse_retry_after(answer.headers)
        if not error.is_transient or is_overflow(error):
            return error
        if error.status == 429:
            self.limiter.throttled(ticket)
            raise RateLimitedError(format_error(error, self._key), kind=answer.kind, retry_after=retry_after)
        if error.code == NO_CHOICE:
            raise NoChoiceError(format_error(error, self._key), kind="missing_choices", retry_after=retry_after)
        self.limiter.failed()
        raise RetryableError(format_error(error, self._key), kind=answer.kind, retry_after=retry_after)

    def _report_unused_tokens(self, usage: Any) -> None:
        if isinstance(usage, Mapping):
            report_unused_tokens(self.endpoint.group, usage.get("prompt_tokens"), usage.get("completion_tokens"))

    async def _send_trial_request(self, body: dict[str, Any]) -> None:
        await self._send_adapted(body, self.endpoint.timeout, lambda answer: None)

    def _make_refusal_error(self, error: ServerError) -> CodeToolError:
        """Return the exception for a permanent error; an error that all requests would get is stored for them."""
        user_error = make_user_error(self.endpoint, self._key, error)
        if isinstance(user_error, PromptFilteredError):
            self.warnings.count_reason(FILTERED_PROMPT)
        if is_final(error):
            self._final_error = user_error
        return user_error
