"""How far the calls of a path follow the gold path.

The gold path is the calls of the reference solution, with their arguments, where they are known, else its endpoints. A
call is the gold one if it has its method, path and arguments, search texts but for spelling, and its page; further
arguments may stand in it (`codetool.tool_calls.matching`). Calls that were not answered do not count. The others have
to come in the gold order, from its first call on, with two liberties that lead nowhere else:

- consecutive gold calls of one operation, as a loop makes them, may come in any order;
- a read that was made before may be made again, with endpoints alone on any record.

Limits: a step that looks something up beside the gold path, goes another way to the same answer, or makes independent
calls of different operations in another order has left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby

from codetool.tool_calls.matching import is_made, operation
from codetool.tool_calls.notation import read, written
from codetool.types import Task, ToolAnswer, ToolCall

Expected = Callable[[ToolCall], bool]
"""Whether a call is a certain gold one."""


def calls_left(task: Task, answers: Iterable[ToolAnswer]) -> int | None:
    """How many gold calls are still to be made after these, 0 at the end of the gold path; None once it was left."""
    waiting, done = _gold(task), list[Expected]()
    for call in (answer.call for answer in answers if answer.ok):
        now = waiting[0] if waiting else []
        hit = next((expected for expected in now if expected(call)), None)
        if hit is not None:
            done.append(hit)
            now.remove(hit)
            waiting = waiting if now else waiting[1:]
        elif call.effect == "write" or not any(expected(call) for expected in done):
            return None
    return sum(map(len, waiting))


def _gold(task: Task) -> list[list[Expected]]:
    """The gold calls in order; those that may come in any order share a list."""
    if not task.gold_calls:
        return [[partial(_is_endpoint, endpoint)] for endpoint in task.gold]
    groups = groupby(task.gold_calls, lambda line: operation(read(line), task.tools) or line)
    return [[partial(_is_call, line) for line in lines] for _, lines in groups]


def _is_endpoint(endpoint: str, call: ToolCall) -> bool:
    return call.endpoint == endpoint


def _is_call(line: str, call: ToolCall) -> bool:
    return is_made(read(line), read(written(call)))
