"""What one task sees of the broker: a request in, an answer out."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace

from codetool.errors import UnreachableError
from codetool.interfaces import ToolSource
from codetool.tools.allow_list import AllowList, extract_host
from codetool.tools.answer_counts import AnswerCounts, AnswerTally
from codetool.tools.call_key import route_request
from codetool.tools.error_answers import make_error_answer
from codetool.tools.request_refusals import find_refusal
from codetool.tools.secrets import Keyring
from codetool.tools.writes import TaskWrites
from codetool.types import HttpRequest, Task, Tool, ToolAnswer, ToolCall

logger = logging.getLogger(__name__)


class TaskSession:
    """The tools of one task. Its `call` is what the task's interpreter and all its branches are given."""

    def __init__(
        self,
        task: Task,
        sources: Sequence[ToolSource],
        *,
        allowed: AllowList,
        max_calls: int,
        mode: str,
        keyring: Keyring,
        total: AnswerTally,
        writes: TaskWrites,
        tools: tuple[Tool, ...] | None = None,
        sends_requests: bool = False,
    ) -> None:
        """Takes the sources in the order in which they are asked, the run's tally to add to, and the task's writes.

        `tools` are the task's tools with the effects that options give them, where there are any. `sends_requests` says
        that a source sends requests to services as programs write them, so that some must be refused.
        """
        self._tools = task.tools if tools is None else tools
        self._writes = writes
        self._sends_requests = sends_requests
        self._sources = sources
        self._allowed = allowed
        self._max_calls = max_calls
        self._mode = mode
        self._keyring = keyring
        self._tallies = (AnswerTally(), total)
        self._asked = 0
        self.unreachable: list[ToolAnswer] = []
        """Calls of documented services that had no answer after every attempt: no fault of the program."""

    async def call(self, request: HttpRequest) -> ToolAnswer:
        """The answer to a request, `seconds` measured; never raises what a source raised."""
        return await self.answer(self._route(request))

    async def answer(self, call: ToolCall) -> ToolAnswer:
        """The answer to a call that has been routed, under the rules of `call`."""
        call = replace(call, arguments=self._keyring.scrub_arguments(call.arguments))
        start = time.perf_counter()
        answer = await self._answer(call)
        answer = replace(answer, call=call, seconds=time.perf_counter() - start)
        self._writes.add(answer)
        if answer.transient and answer.failure == "unreachable" and self._is_documented(call):
            self.unreachable.append(answer)
        for tally in self._tallies:
            tally.count(answer)
        return answer

    @property
    def fatal_error(self) -> UnreachableError | None:
        """Why the task cannot be judged: calls of documented services stayed without an answer. None if none did."""
        if not self.unreachable:
            return None
        first, count = self.unreachable[0], len(self.unreachable)
        calls = self._tallies[0].summary().calls
        told = f"{first.call.method} {first.call.url}: {json.loads(first.body)['error']['message']}"
        return UnreachableError(
            f"{count} of {calls} tool calls had no answer after every attempt, the first {told}. "
            "The same command tries the task again"
        )

    def summary(self) -> AnswerCounts:
        """The counts of this task's answers so far."""
        return self._tallies[0].summary()

    def _route(self, request: HttpRequest) -> ToolCall:
        """The call of a request from which every known key is cut out, wherever it stands."""
        body = None if request.body is None else self._keyring.scrub(request.body)
        headers = tuple((name, self._keyring.scrub(value)) for name, value in request.headers)
        clean = HttpRequest(request.method, self._keyring.scrub(request.url), body, headers)
        host = extract_host(clean.url)
        names, plain = self._keyring.argument_names(host), self._keyring.has_no_secret(host)
        secret_headers = self._keyring.header_names(host)
        call = route_request(clean, self._tools, names, keep_declared=plain, secret_headers=secret_headers)
        return replace(call, earlier_writes=self._writes.select_earlier(call, request.earlier_writes))

    def _is_documented(self, call: ToolCall) -> bool:
        """Whether the call went to a host of the task's documents: any other address may be the program's invention."""
        host = extract_host(call.url)
        return call.tool is not None or any(extract_host(tool.server) == host for tool in self._tools)

    async def _answer(self, call: ToolCall) -> ToolAnswer:
        host = extract_host(call.url)
        if host is None or host not in self._allowed:
            message = f"{host or repr(call.url[:200])} may not be called; allowed hosts: {self._allowed}"
            return make_error_answer(call, "host_not_allowed", message)
        if self._asked >= self._max_calls:
            return make_error_answer(call, "budget", f"this task's budget of {self._max_calls} tool calls is spent")
        self._asked += 1
        if self._sends_requests and call.request is not None:
            if (objection := find_refusal(call.request, self._tools)) is not None:
                return make_error_answer(call, "refused", objection)
        for source in self._sources:
            answer = await self._ask(source, call)
            if answer is not None:
                return answer
        return make_error_answer(call, "miss", self._miss(call))

    async def _ask(self, source: ToolSource, call: ToolCall) -> ToolAnswer | None:
        try:
            return await source.answer(call)
        except Exception as error:  # a defect of a source must not end the task; it is logged and counted
            logger.error("%s", self._keyring.scrub("".join(traceback.format_exception(error))))
            reason = f"{type(source).__name__} broke with {type(error).__name__}"
            return make_error_answer(call, "unreachable", reason, transient=True)

    def _miss(self, call: ToolCall) -> str:
        if call.tool is None:
            return f"no document describes {call.method} {call.url}, and nothing answers it in mode {self._mode}"
        return f"{call.endpoint} has no answer to these arguments in mode {self._mode}; try others or another tool"
