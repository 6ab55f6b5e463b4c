"""Run one step in a live process: send its code, answer its tool calls and read its verdict.

The process is killed if an answer is forged, early, late, too long or of the wrong kind.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence

from codetool.concurrency import LARGE_BYTES, admit_large_data, large_data_scope
from codetool.execution.channel import ClosedError
from codetool.execution.inside.run_step import MAX_ERROR_CHARACTERS, MAX_STDERR_CHARACTERS
from codetool.execution.kept_calls import keep_answer
from codetool.execution.live_process import LiveProcess, send_signal
from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.process_end import raise_if_interrupted
from codetool.execution.process_status import yield_to_host_later
from codetool.execution.process_timer import ProcessTimer
from codetool.execution.protocol import Message, ProtocolError, get_text, replace_surrogates
from codetool.interfaces import CallTool
from codetool.types import Execution, ExecutionStatus, HttpRequest, ToolAnswer, format_observation

MAX_CALLS = 1000
"""Maximum number of tool calls of one step; more would fill the host's memory and journal."""
MAX_CALLS_WITHOUT_BUDGET = 50
"""Maximum number of calls that a step makes after the task's budget of calls is spent."""
MAX_HEADERS = 100
"""Maximum number of headers of one request."""
PARTIAL_OUTPUT_SECONDS = 0.04
"""Own time that a timed-out step has to send its output."""


async def execute_step(process: LiveProcess, code: str, name: str, call_tool: CallTool, timeout: float) -> Execution:
    """Run one step and return its Execution. A process that violates the protocol or times out is killed.

    `timeout` is seconds of the process's own time. Raises InterruptedStepError if the process was ended by
    something that is not the step's doing, and OverloadedError.
    """
    timer = ProcessTimer(timeout, process.pid, process.suspension)
    calls: list[ToolAnswer] = []
    try:
        with yield_to_host_later(process.pid):
            message = await _exchange(process, code, name, call_tool, timer, calls)
        printed, stderr = _parse_output(process, message, "observation")
        error = get_text(message, "error", optional=True)[:MAX_ERROR_CHARACTERS] or None
        seconds = timer.stop()
        process.has_replaced_functions = message.get("replaced") is not False
    except _StepTimeoutError:
        printed, stderr = await _request_partial_output(process)
        process.kill()
        reason = f"the step ran longer than its limit of {timeout:g} s and was stopped"
        observation = format_observation(printed, stderr)
        return Execution("timeout", observation, reason, timer.own_seconds, tuple(calls), stderr)
    except (ClosedError, ProtocolError) as broken:
        await raise_if_interrupted(process)
        process.kill()
        return Execution("killed", "", f"the interpreter died: {broken}", timer.own_seconds, tuple(calls))
    except BaseException:
        process.kill()
        raise
    failed = next((call for call in calls if not call.ok), None)
    status: ExecutionStatus = "tool_failed" if failed else "exception" if error else "ok"
    if failed and not error:
        error = f"{failed.call.method} {failed.call.url} answered {failed.failure or failed.status}"
    return Execution(status, format_observation(printed, stderr), error, seconds, tuple(calls), stderr)


async def _exchange(
    process: LiveProcess, code: str, name: str, call_tool: CallTool, timer: PausableTimer, calls: list[ToolAnswer]
) -> Message:
    """Run the step, answer its tool calls and add the answers to `calls`; returns the process's final report."""
    with _translate_timeouts():
        await process.send("run", timer, code=code, name=name)
    while True:
        with _translate_timeouts():
            message = await process.receive(timer, "call", "done")
        if message["kind"] == "done":
            return message
        request = _parse_request(message)
        if len(calls) == MAX_CALLS:
            raise ProtocolError(f"the step called tools more than {MAX_CALLS} times")
        await _answer_call(process, request, call_tool, timer, calls)


async def _answer_call(
    process: LiveProcess, request: HttpRequest, call_tool: CallTool, timer: PausableTimer, calls: list[ToolAnswer]
) -> None:
    """Answer one tool call of a step, and add the answer to `calls`. The body is forgotten as soon as it is sent."""
    async with large_data_scope():
        with timer.paused():
            answer = await call_tool(request)
            if len(answer.body) > LARGE_BYTES:
                await admit_large_data()
        calls.append(keep_answer(answer))
        if answer.failure == "budget" and _count_without_budget(calls) > MAX_CALLS_WITHOUT_BUDGET:
            raise ProtocolError("the step went on calling tools after the task's budget was spent")
        with _translate_timeouts():
            await process.send("answer", timer, keep=True, status=answer.status, body=answer.body)


def _parse_output(process: LiveProcess, message: Message, printed: str) -> tuple[str, str]:
    """A step's stdout, from the field `printed`, and its stderr. Raises ProtocolError for other types."""
    stdout, stderr = get_text(message, printed), get_text(message, "stderr", optional=True)
    return stdout[: process.handle.max_output_characters], stderr[-MAX_STDERR_CHARACTERS:]


async def _request_partial_output(process: LiveProcess) -> tuple[str, str]:
    """The stdout and stderr of a timed-out step, empty if the process does not answer."""
    if not process.alive:
        return "", ""
    send_signal(process.pidfd, process.pid, getattr(signal, "SIGUSR1", signal.SIGTERM))
    timer = ProcessTimer(PARTIAL_OUTPUT_SECONDS, process.pid, process.suspension)
    with contextlib.suppress(TimeoutError, ClosedError, ProtocolError):
        return _parse_output(process, await process.receive(timer, "output"), "text")
    return "", ""


def _count_without_budget(calls: Sequence[ToolAnswer]) -> int:
    return sum(call.failure == "budget" for call in calls)


class _StepTimeoutError(Exception):
    """The step's own time limit has passed, as opposed to a TimeoutError of a tool."""


@contextlib.contextmanager
def _translate_timeouts() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise _StepTimeoutError from error


def _parse_request(message: Message) -> HttpRequest:
    body = None if message.get("body") is None else get_text(message, "body")
    return HttpRequest(get_text(message, "method").upper(), get_text(message, "url"), body, _parse_headers(message))


def _parse_headers(message: Message) -> tuple[tuple[str, str], ...]:
    """The request's headers. Raises ProtocolError if they are not pairs of texts."""
    headers = message.get("headers") or []
    if not isinstance(headers, list) or len(headers) > MAX_HEADERS:
        raise ProtocolError(f"the headers of a request are no list of at most {MAX_HEADERS}")
    for pair in headers:
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise ProtocolError("a header of a request is no pair of texts")
    return tuple((replace_surrogates(name), replace_surrogates(value)) for name, value in headers)
