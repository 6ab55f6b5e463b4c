"""Tool source that sends calls to the real service.

Reads are retried and follow redirects to allowed hosts. A write is retried only if the service certainly did not
receive it, and never follows a redirect. A request is sent with its method, URL and body, the headers that its document
declares, a content type (inferred from the body if the request has none), and the host's key.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, replace
from urllib.parse import urljoin

import httpx

from codetool.concurrency import LARGE_BYTES, admit_large_data
from codetool.http.answer_deadline import answer_deadline, paused_deadline
from codetool.http.fault_counts import classify_body, classify_transport_error
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries, parse_retry_after
from codetool.tools.allow_list import AllowList, extract_host
from codetool.tools.error_answers import Failure, make_error_answer
from codetool.tools.live_content import find_content_fault, is_json
from codetool.tools.request_arguments import parse_body
from codetool.tools.secrets import Keyring
from codetool.types import HttpRequest, ToolAnswer, ToolCall

CONTENT_TYPES = {"json": "application/json", "form": "application/x-www-form-urlencoded", "text": "text/plain"}
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
TRANSIENT_STATUSES = frozenset({407, 408, 425, 429})
"""Statuses below 500 that depend on the moment and not on the call, so that a retry may succeed."""
MAX_REDIRECTS = 5
MAX_RETRY_DELAY = 30.0  # seconds between two attempts, even if the service asks for more


@dataclass(frozen=True, slots=True)
class _Reply:
    """The response of a service, or the failure to get one."""

    status: int
    text: str
    failure: Failure | None = None
    content_type: str = ""
    location: str | None = None
    retry_after: float = 0.0
    transient: bool = False
    """Whether a retry may succeed."""
    kind: str = "other"
    """Kind of fault under which a failed attempt is counted."""
    sent: bool = True
    """False if the service certainly did not receive the request."""


class _TransientError(RetryableError):
    """A reply after which a retry may succeed."""

    def __init__(self, reply: _Reply) -> None:
        super().__init__(reply.text, kind=reply.kind, retry_after=reply.retry_after)
        self.reply = reply


class LiveSource:
    """A ToolSource that calls the service itself. Answers and messages never contain a key of the keyring."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        keyring: Keyring,
        allowed: AllowList,
        *,
        deadline: float,
        retries: int,
        backoff: float,
        max_bytes: int,
        connections: asyncio.Semaphore | None = None,
    ) -> None:
        """Takes an open client, the hosts that redirects may lead to, and limits.

        Args:
            client: made by `signing_transport.open_client`.
            keyring: the keys that are removed from answers.
            allowed: the hosts that redirects may lead to.
            deadline: seconds that one attempt may take from the connection to the last byte.
            retries: number of retries of a read after 429, 5xx, a time-out, a refused or lost connection, or malformed
                JSON; of a write only if the service certainly did not receive it.
            backoff: seconds before the first retry, doubled for each further one, and multiplied by 0.5 to 1.
            max_bytes: maximum size of an answer's body in bytes.
            connections: free connections, shared by the sources of one client; None does not limit them.
        """
        self._client = client
        self._keyring = keyring
        self._allowed = allowed
        self._deadline = deadline
        self._retries = retries
        self._backoff = backoff
        self._max_bytes = max_bytes
        self._connections = connections or asyncio.Semaphore(sys.maxsize)

    def checksum(self) -> None:
        """None: the answers of a live service are not known in advance."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The service's answer, or one with `failure` if it could not be reached; None for a call without a request.

        An error status that may pass, such as 503, is marked `transient` if it remained after all retries.
        """
        if call.request is None:
            return None
        reply = await self._send_with_retries(call, call.request)
        text = self._keyring.scrub(reply.text)
        if reply.failure:
            return make_error_answer(call, reply.failure, text, transient=reply.transient)
        # Only documented calls are expected to work: a program may invent a URL that no retry makes answerable.
        is_fault = reply.transient and (call.tool is not None or reply.status in TRANSIENT_STATUSES)
        return ToolAnswer(call, reply.status, text, "live", transient=is_fault)

    async def _send_with_retries(self, call: ToolCall, request: HttpRequest) -> _Reply:
        """The reply to the last attempt."""

        async def attempt() -> _Reply:
            reply = await self._attempt(call, request)
            if reply.transient and (call.effect == "read" or not reply.sent):
                raise _TransientError(reply)
            return reply

        def spread(attempt: int) -> float:
            """A factor that differs between URLs, so that not all calls are retried at the same moment."""
            return random.Random(f"{request.url} {attempt}").uniform(0.5, 1.0)

        policy = RetryPolicy(
            self._retries, self._backoff, max_delay=MAX_RETRY_DELAY, draw_factor=spread, service="tools"
        )
        try:
            return await call_with_retries(attempt, policy)
        except RetriesExhaustedError as error:
            assert isinstance(error.reason, _TransientError)
            reply, times = error.reason.reply, f"after {error.attempts} attempts"
            return replace(reply, text=f"{reply.text}, {times}") if reply.failure else reply

    async def _attempt(self, call: ToolCall, request: HttpRequest) -> _Reply:
        """The reply to one attempt. A malformed body fails a read; for a write it is the answer."""
        if call.effect == "write":
            return await self._send(request)
        reply = await self._follow_redirects(request)
        fault = None if reply.failure else find_content_fault(call, reply.status, reply.content_type, reply.text)
        if fault is None:
            return reply
        kind = "error_object" if is_json(reply.text) else classify_body(reply.text)
        return _make_unreachable(request.url, f"it answered {fault}", transient=True, kind=kind)

    async def _follow_redirects(self, request: HttpRequest) -> _Reply:
        for _ in range(MAX_REDIRECTS):
            reply = await self._send(request)
            if reply.location is None:
                return reply
            # The service may have copied the key into the URL; the transport adds it again.
            url = self._keyring.scrub(urljoin(request.url, reply.location))
            host = extract_host(url)
            if host is None or host not in self._allowed:
                target = host or "an address that is no http URL"
                return _Reply(403, f"redirected to {target}; allowed: {self._allowed}", "host_not_allowed")
            headers = request.headers if host == extract_host(request.url) else ()
            request = replace(request, url=url, headers=headers)
        return _make_unreachable(request.url, f"redirected more than {MAX_REDIRECTS} times")

    async def _send(self, request: HttpRequest) -> _Reply:
        """The reply to one request; an httpx error becomes a failure whose message contains no key."""
        async with self._connections:  # waiting for a free connection is not the service's silence
            try:
                async with answer_deadline(self._deadline):
                    return await self._exchange(request)
            except (httpx.RequestError, httpx.InvalidURL, TimeoutError) as error:
                return _describe_failure(request.url, error)

    async def _exchange(self, request: HttpRequest) -> _Reply:
        body = parse_body(request.body)
        inferred = {"Content-Type": CONTENT_TYPES[body.type]} if body else {}
        fields = inferred | dict(request.headers)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
        content = body.text.encode() if body else None
        async with self._client.stream(request.method, request.url, content=content, headers=headers) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > self._max_bytes:
                    return _make_unreachable(request.url, f"the answer is longer than {self._max_bytes} bytes")
                if len(data) > LARGE_BYTES:
                    with paused_deadline():
                        await admit_large_data()
        return _Reply(
            response.status_code,
            data.decode(response.encoding or "utf-8", errors="replace"),
            content_type=response.headers.get("content-type", ""),
            location=response.headers.get("location") if response.status_code in REDIRECT_STATUSES else None,
            retry_after=parse_retry_after(response.headers),
            transient=response.status_code in TRANSIENT_STATUSES or response.status_code >= 500,
            kind=f"status_{response.status_code}",
        )


def _describe_failure(url: str, error: Exception) -> _Reply:
    """The reply for a request without a response; its message contains no key."""
    kind = classify_transport_error(error)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        reason = "the host does not accept connections"
        return _make_unreachable(url, reason, transient=True, kind=kind, sent=False)
    if isinstance(error, TimeoutError):
        return _make_unreachable(url, "no complete answer within the time limit", transient=True, kind="slow_body")
    if isinstance(error, httpx.TimeoutException):
        return _make_unreachable(url, "no complete answer within the time limit", transient=True, kind=kind)
    if isinstance(error, httpx.ConnectError):
        reason = "the host is unknown or refused the connection"
        return _make_unreachable(url, reason, transient=True, kind=kind, sent=False)
    if isinstance(error, httpx.DecodingError):
        return _make_unreachable(url, "the answer's compression is broken", transient=True, kind=kind)
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return _make_unreachable(url, "the connection was lost", transient=True, kind=kind)
    return _make_unreachable(url, f"the request failed with {type(error).__name__}")


def _make_unreachable(
    url: str, reason: str, *, transient: bool = False, kind: str = "other", sent: bool = True
) -> _Reply:
    message = f"{extract_host(url)}: {reason}"
    return _Reply(502, message, "unreachable", transient=transient, kind=kind, sent=sent)
