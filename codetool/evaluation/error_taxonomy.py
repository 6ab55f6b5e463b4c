"""Why a task was not solved: one kind and one line, the `error` of a result line.

    internal          CodeTool, a benchmark's check or a service failed; the message names the type of the exception
    budget            a budget ended the search before a path was finished
    no_code           the chosen path ends with a step without code that is no final text
    syntax            … with code that does not parse
    exception:<Type>  … with an exception of that type; `exception:TimeLimit` and `exception:Killed` are the executor's:
                      the step ran too long, or its process died (memory, a signal)
    tool_error        … with a tool call that was not answered
    unfinished        the path ran well as far as it goes and never says that it is finished
    wrong_tool        finished with a wrong answer; an endpoint of the gold path was never called
    wrong_argument    … all were called, but a call of the reference solution was not made
    wrong_answer      … all of it was done, and the answer is wrong

The first that holds counts; a step with an unanswered call is a `tool_error` even if an exception followed from it. A
solved task has none, and a finished one whose answer cannot be checked has none of the last three. Only the end of the
chosen path is judged: earlier failures that it recovered from are in `scep`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.answers.final_answer import answer_of
from codetool.evaluation.metrics import list_called_endpoints
from codetool.tool_calls.matching import is_made, operation
from codetool.tool_calls.notation import read, written
from codetool.types import Execution, Node, SearchResult, Task, ToolAnswer

INTERNAL = "internal"
SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})
EXECUTOR_ERRORS = {"timeout": "TimeLimit", "killed": "Killed"}
MAX_MESSAGE_CHARS = 300
"""Characters of a message at most."""


@dataclass(frozen=True, slots=True)
class TaskError:
    """What kept a task from being solved."""

    kind: str
    """One of the kinds above."""
    message: str
    """One line that says what to look at."""


def make_internal_error(error: BaseException) -> TaskError:
    """The internal failure that an exception means; the message begins with the exception's type."""
    return _make_error(INTERNAL, f"{type(error).__name__}: {error}")


def is_internal(line: Mapping[str, Any]) -> bool:
    """Whether a result line records an internal failure, which says nothing about the policy and is tried again."""
    return line["error"] is not None and line["error"]["kind"] == INTERNAL


def classify_error(task: Task, result: SearchResult, success: bool | None) -> TaskError | None:
    """Why the search did not solve the task; None if it did, or if nothing is known against it."""
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
    if not end.finished:
        return _make_error("unfinished", f"{_count_steps(end)}, and the last does not say that all is finished")
    return None if success is None else _classify_wrong_answer(task, end, answer_of(result))


def _classify_last_step(end: Node) -> TaskError | None:
    """How the path's last step failed, None if it did not."""
    execution, step = end.execution, end.step
    if execution is None or step is None or execution.status == "ok" or (end.finished and step.code is None):
        return None
    where = f"step {end.depth}"
    if execution.status == "no_code":
        return _make_error("no_code", f"{where} has no code: {_join_lines(step.text)}")
    if execution.status == "tool_failed":
        return _make_error("tool_error", f"{where}: {_describe_failed_call(execution)}")
    said = execution.error or execution.status
    if execution.status in EXECUTOR_ERRORS:
        return _make_error(f"exception:{EXECUTOR_ERRORS[execution.status]}", f"{where}: {said}")
    name = re.match(r"\w+", said)
    kind = name.group() if name else "Exception"
    return _make_error("syntax" if kind in SYNTAX_ERRORS else f"exception:{kind}", f"{where}: {said}")


def _classify_wrong_answer(task: Task, end: Node, said: str | None) -> TaskError:
    """What a finished path with a wrong answer did wrong; `said` is the answer."""
    endpoints = list(dict.fromkeys(list_called_endpoints(end.path)))
    never = [endpoint for endpoint in dict.fromkeys(task.gold) if endpoint not in endpoints]
    if never:
        return _make_error("wrong_tool", f"never called {', '.join(never)}; called {', '.join(endpoints) or 'nothing'}")
    made = [answer for node in end.path for answer in (node.execution.calls if node.execution else ())]
    for expected in task.gold_calls:
        if not any(is_made(read(expected), read(written(answer.call))) for answer in made):
            return _make_error(
                "wrong_argument",
                f"never called {expected}; called {_list_calls_to_same_endpoint(task, expected, made)}",
            )
    expected = json.dumps(task.answer.value, ensure_ascii=False) if task.answer else "another"
    answer = _join_lines(said or "") or "nothing"
    return _make_error("wrong_answer", f"answered {answer[:100]}; expected {expected[:100]}")


def _list_calls_to_same_endpoint(task: Task, expected: str, made: Sequence[ToolAnswer]) -> str:
    """The calls that were made to the endpoint of the expected one."""
    tool = operation(read(expected), task.tools)
    calls = [written(answer.call) for answer in made if tool and answer.call.endpoint == tool.endpoint]
    return ", ".join(dict.fromkeys(calls)) or "nothing like it"


def _describe_failed_call(execution: Execution) -> str:
    failed = next((answer for answer in execution.calls if not answer.ok), None)
    if failed is None:
        return execution.error or "a tool call was not answered"
    return f"{written(failed.call)} was answered with {failed.status}: {_join_lines(failed.body)}"


def _count_steps(end: Node) -> str:
    return f"{end.depth} step{'' if end.depth == 1 else 's'}"


def _make_error(kind: str, message: str) -> TaskError:
    line = _join_lines(message)
    return TaskError(kind, line if len(line) <= MAX_MESSAGE_CHARS else f"{line[: MAX_MESSAGE_CHARS - 1]}…")


def _join_lines(text: str) -> str:
    """The text in one line."""
    return " ".join(text.split())
