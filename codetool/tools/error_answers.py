"""Error answers of the broker itself. Their JSON body tells the policy what went wrong and what to do."""

from __future__ import annotations

import json
from typing import Literal

from codetool.types import ToolAnswer, ToolCall

Failure = Literal["miss", "host_not_allowed", "refused", "budget", "unreachable"]

STATUS: dict[Failure, int] = {
    "miss": 501,
    "host_not_allowed": 403,
    "refused": 403,
    "budget": 429,
    "unreachable": 502,
}


def make_error_answer(call: ToolCall, failure: Failure, message: str, *, transient: bool = False) -> ToolAnswer:
    """An answer for a call that no service answered: JSON body `{"error": {"type", "message"}}`, no provenance."""
    body = json.dumps({"error": {"type": failure, "message": message}}, ensure_ascii=False)
    return ToolAnswer(call, STATUS[failure], body, None, failure=failure, transient=transient)
