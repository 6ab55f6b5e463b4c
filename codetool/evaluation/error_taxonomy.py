"""Classify why a task was not solved, as the `error` of its result line: one kind and a one-line message.

    internal          CodeTool, a benchmark's check or a service failed; the message names the type of the exception
    budget            a budget ended the search before a path was finished
    no_code           the last step of the chosen path has no code and is no final text
    syntax            the last step's code does not parse
    exception:<Type>  the last step raised an exception of that type; `exception:TimeLimit` and `exception:Killed` come
                      from the executor: the step ran too long, or its process died (memory, a signal)
    tool_error        a tool call of the last step was not answered
    unfinished        the last step ran without an error, the path does not end with a final step, and no answer was
                      taken from it all the same
    wrong_tool        the answer is wrong, and an endpoint of the gold path was never called
    wrong_argument    the answer is wrong, and a call of the reference solution was not made, but its endpoints were
    wrong_answer      the answer is wrong although every call of the reference solution was made

The first kind that applies is used; a step with an unanswered call is a `tool_error` even if it also raised an
exception. A solved task has no error, and an answered one whose answer cannot be checked has none of the last three
kinds. Only the last step of the chosen path is classified; `scep` counts earlier failures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.answers.final_answer import extract_answer
from codetool.credentials.masking import mask_text
from codetool.evaluation.metrics import list_called_endpoints
from codetool.tool_calls.matching import find_tool, matches_reference
from codetool.tool_calls.notation import format_call, parse_call
from codetool.types import Execution, Node, SearchResult, Task, ToolAnswer

INTERNAL = "internal"
SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})
EXECUTOR_ERRORS = {"timeout": "TimeLimit", "killed": "Killed"}
MAX_MESSAGE_CHARS = 300
"""Maximum length of a message in characters."""


@dataclass(frozen=True, slots=True)
class TaskError:
    """The reason why a task was not solved."""

    kind: str
    """One of the kinds above."""
    message: str
    """One line that describes the error."""


def make_internal_error(error: BaseException) -> TaskError:
    """Return the error of kind `internal` for an exception; its message begins with the exception's type."""
    return _make_error(INTERNAL, f"{type(error).__name__}: {error}")


def get_internal_kind(line: Mapping[str, Any]) -> str:
    """Return the type of the exception of a result line that records an internal failure, such as `SandboxError`."""
    kind = re.match(r"\w+", line["error"]["message"])
    return kind.group() if kind else "Exception"


def is_internal(line: Mapping[str, Any]) -> bool:
    """Return whether a result line records an internal failure. Such a task is run again by the next run."""
    return line["error"] is not None and line["error"]["kind"] == INTERNAL


def classify_error(task: Task, result: SearchResult, success: bool | None) -> TaskError | None:
    """Return why the search did not solve the task; None if it did, or if its answer cannot be checked."""
    end = result.best
    if success:
        return None
    if result.stopped_by and not end.finished:
        return _make_error(
            "budget", f"the budget of {result.stopped_by} was spent after {_count_steps(end)}, before an answer"
        )
    failure = _classify_last_step(end)
    if failure is not None:
        return failure
    if not end.finished and not result.composed:
        return _make_error("unfinished", f"{_count_steps(end)}, and the last does not say that all is finished")
    return None if success is None else _classify_wrong_answer(task, end, extract_answer(result))


def _classify_last_step(end: Node) -> TaskError | None:
    """Return the error of the path's last step, None if it ran."""
    execution, step = end.execution, end.step
    if execution is None or step is None or execution.status == "ok" or (end.finished and step.code is None):
        return None
    where = f"step {end.depth}"
    if execution.status == "no_code":
        return _make_error("no_code", f"{where} has no code: {_join_lines(step.text)}")
    if execution.status == "tool_failed":
        return _make_error("tool_error", f"{where}: {_describe_failed_call(execution)}")
    message = execution.error or execution.status
    if execution.status in EXECUTOR_ERRORS:
        return _make_error(f"exception:{EXECUTOR_ERRORS[execution.status]}", f"{where}: {message}")
    name = re.match(r"\w+", message)
    kind = name.group() if name else "Exception"
    return _make_error("syntax" if kind in SYNTAX_ERRORS else f"exception:{kind}", f"{where}: {message}")


def _classify_wrong_answer(task: Task, end: Node, final_answer: str | None) -> TaskError:
    """Return the error of a path whose answer is wrong."""
    endpoints = list(dict.fromkeys(list_called_endpoints(end.path)))
    missing = [endpoint for endpoint in dict.fromkeys(task.gold) if endpoint not in endpoints]
    if missing:
        return _make_error(
            "wrong_tool", f"never called {', '.join(missing)}; called {', '.join(endpoints) or 'nothing'}"
        )
    answers = [answer for node in end.path for answer in (node.execution.calls if node.execution else ())]
    for expected in task.gold_calls:
        if not any(matches_reference(parse_call(expected), parse_call(format_call(answer.call))) for answer in answers):
            return _make_error(
                "wrong_argument",
                f"never called {expected}; called {_list_calls_to_same_endpoint(task, expected, answers)}",
            )
    expected = json.dumps(task.answer.value, ensure_ascii=False) if task.answer else "another"
    answer = _join_lines(final_answer or "") or "nothing"
    return _make_error("wrong_answer", f"answered {answer[:100]}; expected {expected[:100]}")


def _list_calls_to_same_endpoint(task: Task, expected: str, answers: Sequence[ToolAnswer]) -> str:
    """Return the calls to the endpoint of the expected call, as text."""
    tool = find_tool(parse_call(expected), task.tools)
    calls = [format_call(answer.call) for answer in answers if tool and answer.call.endpoint == tool.endpoint]
    return ", ".join(dict.fromkeys(calls)) or "nothing like it"


def _describe_failed_call(execution: Execution) -> str:
    failed = next((answer for answer in execution.calls if not answer.ok), None)
    if failed is None:
        return execution.error or "a tool call was not answered"
    return f"{format_call(failed.call)} was answered with {failed.status}: {_join_lines(failed.body)}"


def _count_steps(end: Node) -> str:
    return f"{end.depth} step{'' if end.depth == 1 else 's'}"


def _make_error(kind: str, message: str) -> TaskError:
    line = mask_text(_join_lines(message))  # it may repeat what a server said
    return TaskError(kind, line if len(line) <= MAX_MESSAGE_CHARS else f"{line[: MAX_MESSAGE_CHARS - 1]}…")


def _join_lines(text: str) -> str:
    """Return the text in one line."""
    return " ".join(text.split())
