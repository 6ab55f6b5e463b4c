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
from codetool.http.answer_notes import FILTERED_PROMPT, AnswerNotes
from codetool.http.chat_response import Completion, completion, joined
from codetool.http.context_size import answer_room, is_overflow
from codetool.http.endpoint import Server
from codetool.http.exchange import CONNECT_SECONDS, Exchange, Failure, TimeOutError
from codetool.http.final_refusals import is_final, refusal, told
from codetool.http.rate_limiter import Limiter
from codetool.http.request_fields import ANSWER_LENGTH, RequestFields
from codetool.http.retry import GivenUpError, RetryableError, RetryPolicy, call_with_retries, retry_after_seconds
from codetool.http.server_error import ServerError

log = logging.getLogger(__name__)

TIMEOUT_RETRIES = 2  # each costs the server a whole generation; every retry waits twice as long
MAX_ADAPTATIONS = 12
"""How often one request is changed after refusals before the last of them stands."""
SHORT_ANSWERS = 3
"""Answers of one choice to requests for several, without any of more, after which a server is taken to ignore `n`."""

Accept = Callable[[dict[str, Any]], bool]
"""Whether an answer holds what was asked for; one that does not is asked for again."""


class _BusyError(RetryableError):
    """The server has too much to do at the moment."""


class _UnacceptedError(RetryableError):
    """An answer without what was asked for."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__("an answer without what was asked for")
        self.answer = answer


class ChatClient:
    """A live client; an asynchronous context manager whose entry asks the server which models it has."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.limiter = Limiter(server.concurrency)
        self.notes = AnswerNotes(server)
        self._fields = RequestFields(server.base_url)
        self._key: str | None = None
        self._final: CodeToolError | None = None
        """Why this server answers nobody any more, once it said so."""
        self._short_answers = 0
        """Answers with fewer choices than asked for."""
        self._gives_several = False
        """Whether any answer had more than one choice."""

    async def __aenter__(self) -> ChatClient:
        """Raises UnreachableError, MissingError (no key) or ConfigError (wrong key, model, proxy or address)."""
        self._key = self.server.key
        self._exchange = await Exchange(self.server, self._key).__aenter__()
        try:
            await self._probe()
        except BaseException:
            await self._exchange.__aexit__()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.notes.tell()
        await self._exchange.__aexit__()

    @property
    def http(self) -> httpx.AsyncClient:
        """The HTTP client below, for requests that are not of OpenAI's kind; the key goes with them."""
        return self._exchange.http

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
        body: dict[str, Any] = {"model": self.server.model, "messages": list(messages)}
        stop_sent = list(stop) if stop and sends_stop else None
        optional = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stop": stop_sent}
        body |= {name: value for name, value in (optional | {"seed": seed}).items() if value is not None}
        first = Completion((), 0, ())
        if n == 1 or self._fields.takes("n"):
            first = await self._completion(body | ({"n": n} if n > 1 else {}), stop)
        missing = range(len(first.texts), n)
        if n > 1 and first.texts and self._fields.takes("n"):
            self._note_choices(len(first.texts), n)
        # The same seed would bring the same text again.
        singles = [body | ({"seed": seed + i} if seed is not None else {}) for i in missing]
        further = await gather_or_cancel(self._completion(single, stop) for single in singles) if singles else ()
        return joined([first, *further]) if singles else first

    def _note_choices(self, got: int, wanted: int) -> None:
        """Say once that a server gives fewer choices than asked for, and stop asking where it never gives several."""
        if got > 1:
            self._gives_several = True
        if got == wanted:
            return
        words = f"gave {got} of {wanted} candidates in one answer: those that are missing are asked for singly"
        self.notes.tell_once("short", words)
        self._short_answers += 1
        if not self._gives_several and self._short_answers >= SHORT_ANSWERS:
            self._fields.drop("n", "gives one candidate whatever `n` is")

    async def _completion(self, body: dict[str, Any], stop: Sequence[str]) -> Completion:
        done = completion(await self.answer(body), body)
        done = replace(done, texts=tuple(_before(stop, text) for text in done.texts))
        self.notes.read(done, body)
        return done

    async def answer(self, body: dict[str, Any], accept: Accept = lambda answer: True) -> dict[str, Any]:
        """The decoded answer to one request of chat/completions, after retries. Raises what `complete` raises.

        An answer that is not accepted counts as one that brought nothing; it is returned after the last attempt.
        """
        timeouts, answered = 0, self.limiter.answered

        async def attempt() -> dict[str, Any]:
            nonlocal timeouts, answered
            try:
                return await self._adapted(body, self.server.timeout * 2**timeouts, accept)
            except TimeOutError as error:
                timeouts += 1
                error.last = timeouts > TIMEOUT_RETRIES
                raise
            except _BusyError as error:
                # Turned away while others are answered means to wait for one's turn: a quota a minute, a crowd.
                error.counts = self.limiter.answered <= answered
                raise
            finally:
                answered = self.limiter.answered

        try:
            answer = await call_with_retries(attempt, RetryPolicy(self.server.retries, self.server.backoff))
        except GivenUpError as error:
            if not isinstance(error.reason, _UnacceptedError):
                raise self._given_up(error) from error
            answer = error.reason.answer
        self.notes.check_prompt(answer.get("usage"), body)
        return answer

    async def _adapted(self, body: dict[str, Any], timeout: float, accept: Accept) -> dict[str, Any]:
        """The answer to the request in the form that the server takes; what it refuses is learnt on the way."""
        if self.server.stream:
            body = body | {"stream_options": {"include_usage": True}}
        for adaptations in count():
            if self._final is not None:
                raise self._final
            sent = self._fields.adapt(body)
            answer = await self._attempt(sent, timeout, accept)
            if isinstance(answer, dict):
                return answer
            error = answer
            if adaptations < MAX_ADAPTATIONS and self._fields.learn(error, sent):
                continue
            room = self._room(error, sent)
            if room is None or adaptations >= MAX_ADAPTATIONS:
                raise self._refuse(error)
            log.debug("%s: %s; %d tokens are left for the answer", self.server.base_url, error.short, room)
            body = body | {"max_tokens": room}
        raise AssertionError("unreachable")

    def _room(self, error: ServerError, sent: Mapping[str, Any]) -> int | None:
        """Tokens that the context leaves for the answer, None where the error is another or there are none."""
        name = next((name for name in ANSWER_LENGTH if name in sent), None)
        return answer_room(error, sent[name]) if name and is_overflow(error) else None

    async def _attempt(self, sent: dict[str, Any], timeout: float, accept: Accept) -> dict[str, Any] | ServerError:
        """The answer, or the error of a request that no repetition makes better. Raises RetryableError."""
        ticket = await self.limiter.acquire()
        try:
            answer = await self._exchange.ask(sent, timeout)
        except RetryableError:
            self.limiter.failed()
            raise
        finally:
            self.limiter.release()
        if isinstance(answer, dict):
            self.limiter.succeeded()
            if accept(answer):
                return answer
            raise _UnacceptedError(answer)
        error, retry_after = answer.error, retry_after_seconds(answer.headers)
        if not error.is_passing or is_overflow(error):
            return error
        if error.status == 429:
            self.limiter.throttled(ticket)
            raise _BusyError(told(error, self._key), retry_after=retry_after)
        self.limiter.failed()
        raise RetryableError(told(error, self._key), retry_after=retry_after)

    def _given_up(self, error: GivenUpError) -> UnreachableError:
        group = self.server.group
        return UnreachableError(
            f"{self.server.base_url} gave no answer in {error.attempts} attempts; the last one: {error.reason}. Is the "
            f"server up and not overloaded? `{group}.retries`, `{group}.timeout` and `{group}.concurrency` "
            "set how hard it is tried; the same command resumes."
        )

    def _refuse(self, error: ServerError) -> CodeToolError:
        """The exception for what no retry changes; one that every request would meet is kept for further ones."""
        raised = refusal(self.server, self._key, error)
        if isinstance(raised, PromptFilteredError):
            self.notes.count(FILTERED_PROMPT)
        if is_final(error):
            self._final = raised
        return raised

    async def _probe(self) -> None:
        """Ask for the served models: the one moment where a wrong address, key or model is told before any task."""
        group, model = self.server.group, self.server.model
        try:
            names = await self._exchange.models()
        except RetryableError as error:
            raise UnreachableError(
                f"{self.server.base_url} cannot be reached: {error}. Start the server or set its address with "
                f"`{group}.base_url=`; it has {CONNECT_SECONDS:g} s to connect and {self.server.timeout:g} s to answer "
                f"(`{group}.timeout`)."
            ) from error
        if isinstance(names, Failure):
            await self._decide_on(names.error)
        elif names and not any(name == model or name.endswith(f"/{model}") for name in names):
            listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            log.warning("%s lists %s, and not %r: a first request decides", self.server.base_url, listed, model)
            await self._ask_once(f"It lists {listed}; choose one with `{group}.model=`.")

    async def _decide_on(self, error: ServerError) -> None:
        """Raise for a list of models that is withheld for lack of a key; a key may be for chat alone."""
        if error.status not in {401, 403}:
            return
        if error.status == 401 and not re.search(r"scope|permission", error.message, re.IGNORECASE):
            raise self._refuse(error)
        if self._key is None:
            raise self._refuse(error)
        log.warning(
            "%s does not list its models: %s; a first request decides", self.server.base_url, told(error, self._key)
        )
        await self._ask_once("")

    async def _ask_once(self, advice: str) -> None:
        """Return if a request of one token is not refused for its key, model or address. Raises ConfigError."""
        body = {"model": self.server.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            await self._adapted(body, self.server.timeout, lambda answer: True)
        except (ConfigError, MissingError) as error:
            raise type(error)(f"{error} {advice}".strip()) from error
        except (CodeToolError, RetryableError) as error:
            log.debug("the first request: %s", error)


def _before(stop: Sequence[str], text: str) -> str:
    """The text up to the first of the stop texts, for servers that write on."""
    return min((text.split(each, 1)[0] for each in stop if each), key=len, default=text)
