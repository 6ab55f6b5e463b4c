"""Measure how far the tool calls of a search path follow the gold path.

The gold path is the sequence of calls of the reference solution, with arguments if they are known, otherwise its
endpoints. `codetool.tool_calls.matching` decides whether a call equals a gold call. Calls that failed are ignored. All
other calls must follow the gold order from its first call on, with two exceptions that do not change the result:

- consecutive gold calls of one tool, such as those of a loop, may come in any order;
- a read may be repeated; where only endpoints are known, the repetition may ask about any record.

Limits: a step leaves the gold path if it looks up something else, reaches the same answer in another way, or makes
independent calls of different tools in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby

from codetool.tool_calls.matching import find_tool, matches_reference
from codetool.tool_calls.notation import format_call, parse_call
from codetool.types import Task, ToolAnswer, ToolCall

CallMatcher = Callable[[ToolCall], bool]
"""Returns whether a call equals one particular gold call."""


def remaining_gold_calls(task: Task, answers: Iterable[ToolAnswer]) -> int | None:
    """Return how many gold calls remain after these answers: 0 at the end of the path, None once a call left it."""
    remaining_groups, matched_before = _group_gold_calls(task), list[CallMatcher]()
    for call in (answer.call for answer in answers if answer.ok):
        current_group = remaining_groups[0] if remaining_groups else []
        matched = next((matcher for matcher in current_group if matcher(call)), None)
        if matched is not None:
            matched_before.append(matched)
            current_group.remove(matched)
            remaining_groups = remaining_groups if current_group else remaining_groups[1:]
        elif call.effect == "write" or not any(matcher(call) for matcher in matched_before):
            return None
    return sum(map(len, remaining_groups))


def _group_gold_calls(task: Task) -> list[list[CallMatcher]]:
    """Return matchers of the gold calls in order; calls that may come in any order share a list."""
    if not task.gold_calls:
        return [[partial(_matches_endpoint, endpoint)] for endpoint in task.gold]
    groups = groupby(task.gold_calls, lambda line: find_tool(parse_call(line), task.tools) or line)
    return [[partial(_matches_line, line) for line in lines] for _, lines in groups]


def _matches_endpoint(endpoint: str, call: ToolCall) -> bool:
    return call.endpoint == endpoint


def _matches_line(line: str, call: ToolCall) -> bool:
    return matches_reference(parse_call(line), parse_call(format_call(call)))
