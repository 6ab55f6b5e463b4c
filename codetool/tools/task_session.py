"""The broker session of one task: takes requests of its interpreters and returns answers."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from codetool.costs.usage import tally_usage
from codetool.errors import UnreachableError
from codetool.interfaces import ToolSource
from codetool.tools.allow_list import AllowList, extract_host
from codetool.tools.answer_counts import AnswerCounts, AnswerTally
from codetool.tools.call_key import route_request, strip_url_secrets
from codetool.tools.error_answers import make_error_answer
from codetool.tools.request_limits import MAX_METHOD_CHARS, TaskUsage, find_excess, shorten
from codetool.tools.request_refusals import find_refusal
from codetool.tools.secrets import Keyring
from codetool.tools.sources import CountingSource
from codetool.tools.writes import TaskWrites
from codetool.types import HttpRequest, Task, Tool, ToolAnswer, ToolCall

logger = logging.getLogger(__name__)


class TaskSession:
    """The tools of one task. The task's interpreter and all its branches use `call`."""

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
        counted: CountingSource | None = None,
        source_counts: Counter[str] | None = None,
    ) -> None:
        """Takes the sources in the order in which they are asked, the run's tally to add to, and the task's writes.

        `tools` are the task's tools with their configured effects; None uses the task's own. `sends_requests` tells
        whether a source sends a program's requests to services, so that unsafe ones must be refused. `counted` is the
        source that counts how it finds its answers, and `source_counts` the run's sum of its counts, to add to.
        """
        self._counted, self._source_counts = counted, Counter[str]() if source_counts is None else source_counts
        self._added_counts: Mapping[str, int] = {}
        self._tools = task.tools if tools is None else tools
        self._writes = writes
        self._sends_requests = sends_requests
        self._sources = sources
        self._allowed = allowed
        self._usage = TaskUsage(max_calls)
        self._mode = mode
        self._keyring = keyring
        self._tallies = (AnswerTally(), total)
        self.unreachable: list[ToolAnswer] = []
        """Calls of documented services that failed after all retries, which is not the program's fault."""

    async def call(self, request: HttpRequest) -> ToolAnswer:
        """The answer to a request, with its duration in `seconds`. Errors of a source become error answers.

        Refused requests count against the task's limits, so that no program can make them without end.
        """
        if (excess := find_excess(request)) is not None:
            return self._refuse_oversized(request, excess)
        answer = await self.answer(self._route(request))
        self._usage.count(request, answer)
        return answer

    async def answer(self, call: ToolCall) -> ToolAnswer:
        """The answer to a routed call, under the same rules as `call`."""
        call = replace(call, arguments=self._keyring.scrub_arguments(call.arguments))
        start = time.perf_counter()
        with tally_usage() as usage:
            answer = self._spend_call(call) or await self._answer(call)
        answer = replace(
            answer,
            call=call,
            seconds=time.perf_counter() - start,
            simulator_tokens_in=usage.get("simulator", "tokens_in"),
            simulator_tokens_out=usage.get("simulator", "tokens_out"),
        )
        self._writes.add(answer)
        if answer.transient and self._is_documented(call):
            self.unreachable.append(answer)
        for tally in self._tallies:
            tally.count(answer)
        if self._counted is not None:
            counts = Counter(self._counted.counts)
            self._source_counts.update(counts - Counter(self._added_counts))
            self._added_counts = counts
        return answer

    @property
    def fatal_error(self) -> UnreachableError | None:
        """Why the task cannot be scored: calls of documented services got no answer. None if all did."""
        if not self.unreachable:
            return None
        first, count = self.unreachable[0], len(self.unreachable)
        calls = self._tallies[0].summary().calls
        reason = json.loads(first.body)["error"]["message"] if first.failure else f"it answered {first.status}"
        first_error = f"{first.call.method} {first.call.url}: {reason}"
        return UnreachableError(
            f"{count} of {calls} tool calls had no answer after every attempt, the first {first_error}. "
            "The same command tries the task again"
        )

    def summary(self) -> AnswerCounts:
        """The counts of this task's answers so far."""
        return replace(self._tallies[0].summary(), cache=dict(sorted(self._added_counts.items())))

    def _route(self, request: HttpRequest) -> ToolCall:
        """The call of a request, with every known key removed from URL, body and headers."""
        body = None if request.body is None else self._keyring.scrub(request.body)
        headers = tuple((name, self._keyring.scrub(value)) for name, value in request.headers)
        clean = HttpRequest(request.method, self._keyring.scrub(request.url), body, headers)
        host = extract_host(clean.url)
        names, keep_declared = self._keyring.argument_names(host), self._keyring.has_no_secret(host)
        secret_headers = self._keyring.header_names(host)
        call = route_request(clean, self._tools, names, keep_declared=keep_declared, secret_headers=secret_headers)
        return replace(call, earlier_writes=self._writes.select_earlier(call, request.earlier_writes))

    def _is_documented(self, call: ToolCall) -> bool:
        """Whether the call went to a documented host; any other URL may be invented by the program."""
        host = extract_host(call.url)
        return call.tool is not None or any(extract_host(tool.server) == host for tool in self._tools)

    def _refuse_oversized(self, request: HttpRequest, excess: str) -> ToolAnswer:
        """The refusal of a request above a limit; its call holds only the beginning of the URL."""
        url = shorten(strip_url_secrets(self._keyring.scrub(request.url)))
        call = ToolCall(shorten(request.method.upper(), MAX_METHOD_CHARS), url, {})
        answer = self._spend_call(call) or make_error_answer(call, "refused", excess)
        for tally in self._tallies:
            tally.count(answer)
        return answer

    def _spend_call(self, call: ToolCall) -> ToolAnswer | None:
        """Count one more call; a refusal, without counting it, if one of the task's limits is used up."""
        if (exhausted := self._usage.find_exhausted()) is not None:
            return make_error_answer(call, "budget", exhausted)
        self._usage.calls += 1
        return None

    async def _answer(self, call: ToolCall) -> ToolAnswer:
        host = extract_host(call.url)
        if host is None or host not in self._allowed:
            message = f"{host or repr(call.url[:200])} may not be called; allowed hosts: {self._allowed}"
            return make_error_answer(call, "host_not_allowed", message)
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
        except Exception as error:  # an error in a source must not end the task; it is logged and counted
            logger.error("%s", self._keyring.scrub("".join(traceback.format_exception(error))))
            reason = f"{type(source).__name__} broke with {type(error).__name__}"
            return make_error_answer(call, "unreachable", reason, transient=True)

    def _miss(self, call: ToolCall) -> str:
        if call.tool is None:
            return f"no document describes {call.method} {call.url}, and nothing answers it in mode {self._mode}"
        return f"{call.endpoint} has no answer to these arguments in mode {self._mode}; try others or another tool"
